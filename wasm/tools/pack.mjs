/*
 * Makes the npm package: BUILD/package from wasm/src and BUILD/wasm, and BUILD/velta-VERSION.tgz from that; then prints
 * what each file weighs. Both are made beside their places and moved there, so that they are whole at any time.
 *
 * usage: node wasm/tools/pack.mjs --build BUILD --version VERSION WASM_BUILD...
 */
import { execFileSync } from 'node:child_process';
import { cp, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { bundle } from './bundle.mjs';

const wasm = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const { values, positionals: wasmBuilds } = parseArgs({
    allowPositionals: true,
    options: { build: { type: 'string' }, version: { type: 'string' } },
});
const build = resolve(values.build);
const tarball = `velta-${values.version}.tgz`;
const work = join(build, `packing.${process.pid}`);
const folder = join(work, 'package');
const dist = join(folder, 'dist');

/** What is published; the tools that make it are in wasm/package.json. */
function manifest(version) {
    const entry = (name, types = 'index.d.ts') => ({
        // A bundler that resolves require() for a browser gets the ES module too: its addresses are what it can follow.
        browser: { types: `./dist/types/${types}`, default: `./dist/${name}.js` },
        import: { types: `./dist/types/${types}`, default: `./dist/${name}.js` },
        require: { types: `./dist/cjs-types/${types}`, default: `./dist/${name}.cjs` },
    });
    return {
        name: 'velta',
        version,
        description:
            'Embedded store of typed columns and vectors, in the page, a worker or Node: WebAssembly, no server',
        keywords: ['vector', 'database', 'search', 'hnsw', 'embeddings', 'webassembly', 'opfs', 'indexeddb', 'offline'],
        license: 'MIT',
        type: 'module',
        sideEffects: false,
        engines: { node: '>=20.16' },
        exports: {
            '.': entry('velta'),
            './single': entry('velta.single'),
            './parquet': entry('parquet', 'parquet/index.d.ts'),
            './arrow': entry('arrow', 'arrow/index.d.ts'),
            './worker': { types: './dist/types/worker/entry.d.ts', default: './dist/worker.js' },
            './wasm/*': './dist/wasm/*',
            './package.json': './package.json',
        },
        main: './dist/velta.cjs',
        module: './dist/velta.js',
        types: './dist/types/index.d.ts',
        files: ['dist'],
    };
}

/** Declarations from the sources; a copy below a CommonJS package.json, from which the format of a file follows. */
async function declare() {
    const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
    const types = join(dist, 'types');
    execFileSync(process.execPath, [tsc, '-p', join(wasm, 'tsconfig.package.json'), '--outDir', types], {
        stdio: 'inherit',
    });
    await cp(types, join(dist, 'cjs-types'), { recursive: true });
    await writeFile(join(dist, 'cjs-types', 'package.json'), '{ "type": "commonjs" }\n');
}

async function filesBelow(top) {
    const found = await readdir(top, { recursive: true, withFileTypes: true });
    return found.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
}

async function printSizes() {
    const rows = [['file', 'bytes', 'gzip -9']];
    const declarations = [0, 0];
    for (const file of (await filesBelow(folder)).sort()) {
        const bytes = await readFile(file);
        const sizes = [bytes.length, gzipSync(bytes, { level: 9 }).length];
        if (file.endsWith('.d.ts')) sizes.forEach((size, i) => (declarations[i] += size));
        else rows.push([file.slice(folder.length + 1), ...sizes]);
    }
    rows.push(['(declarations)', ...declarations]);
    for (const [name, ...sizes] of rows) {
        console.log(`  ${name.padEnd(32)}${sizes.map((size) => String(size).padStart(10)).join('')}`);
    }
}

/** The licences of what is bundled into the entries beside velta, and into what they load. */
async function bundledLicences() {
    const ofPackage = (name) => [name, join(wasm, 'node_modules', name, 'LICENSE')];
    const bundled = {
        parquet: ['hyparquet', 'hyparquet-compressors'].map(ofPackage),
        arrow: ['@uwdata/flechette'].map(ofPackage),
        zstd: [['zstd', join(build, 'deps/zstd/lib/LICENSE')]],
    };
    for (const [entry, sources] of Object.entries(bundled)) {
        const texts = sources.map(async ([name, file]) => `${name}\n\n${await readFile(file, 'utf8')}`);
        const head = `${entry}.js and its like contain parts of what has these licences.\n\n`;
        await writeFile(join(dist, `${entry}.LICENSES.txt`), head + (await Promise.all(texts)).join('\n'));
    }
}

async function fill() {
    await mkdir(join(dist, 'wasm'), { recursive: true });
    const modules = join(build, 'wasm');
    await bundle({ source: join(wasm, 'src'), modules, out: dist });
    await declare();
    await bundledLicences();
    for (const wasmBuild of wasmBuilds) {
        const file = `velta.${wasmBuild}.wasm`;
        await cp(join(modules, file), join(dist, 'wasm', file));
    }
    await cp(join(wasm, 'README.md'), join(folder, 'README.md'));
    await cp(join(wasm, '..', 'LICENSE'), join(folder, 'LICENSE'));
    await writeFile(join(folder, 'package.json'), JSON.stringify(manifest(values.version), null, 2) + '\n');
}

async function main() {
    await rm(work, { recursive: true, force: true });
    try {
        await fill();
        execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', work], {
            cwd: folder,
            stdio: ['ignore', 'ignore', 'inherit'],
        });
        await printSizes();
        console.log(`  ${tarball}: ${(await stat(join(work, tarball))).size} bytes`);
        await rm(join(build, 'package'), { recursive: true, force: true });
        await rename(folder, join(build, 'package'));
        await rename(join(work, tarball), join(build, tarball));
    } finally {
        await rm(work, { recursive: true, force: true });
    }
}

await main();
