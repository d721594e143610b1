/*
 * The IndexedDB driver against two plain arrays: operations at random, with commits in between, closed and opened
 * again; the driver alone, over an IndexedDB made of JavaScript.
 *
 * usage: node storage_model.mjs [--lives N] [--seed N]
 * VELTA_SOAK=1 lives a hundred times as many. The last line is "N passed, N failed".
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { conclude } from './lib/outcomes.mjs';
import { developmentPackage, root, rounds, temporaryFolder } from './lib/tools.mjs';
import { randomFrom } from './support/random.js';

const SIZE = 1;
const READ = 2;
const WRITE = 3;
const SYNC = 4;
const TRUNCATE = 5;
const NOTHING = new Uint8Array(0);
const LOCK = { release: () => undefined };

async function driverModule() {
    const { default: esbuild } = await developmentPackage('esbuild');
    const outfile = join(await temporaryFolder(), 'driver.mjs');
    const entry = join(root, 'wasm/src/storage/indexeddb_open.ts');
    await esbuild.build({ entryPoints: [entry], bundle: true, platform: 'node', format: 'esm', outfile });
    return import(pathToFileURL(outfile));
}

/** Everything that the driver reads, in pieces of any size, against the arrays. */
async function compare(driver, files, random) {
    await driver.prepare();
    for (const file of [0, 1]) {
        const size = driver.execute(SIZE, file, 0, 0, NOTHING);
        if (size !== files[file].length) throw new Error(`file ${file} has ${size} bytes, not ${files[file].length}`);
        for (let at = 0; at < size;) {
            const out = new Uint8Array(Math.min(size - at, 1 + random.below(200_000))).fill(7);
            const got = driver.execute(READ, file, at, out.length, out);
            if (got !== out.length) throw new Error(`reading ${out.length} bytes at ${at} gave ${got}`);
            if (Buffer.compare(out, files[file].subarray(at, at + out.length))) {
                throw new Error(`file ${file} differs between ${at} and ${at + out.length}`);
            }
            at += out.length;
        }
    }
    driver.release();
}

function write(driver, files, file, random) {
    const held = files[file];
    const offset = random.chance(2 / 3) ? random.below(held.length + 1) : random.below(400_000);
    const bytes = new Uint8Array(1 + random.below(random.chance(3 / 4) ? 3000 : 300_000));
    bytes.forEach((_, i) => (bytes[i] = 1 + random.below(255)));
    if (driver.execute(WRITE, file, offset, bytes.length, bytes) !== bytes.length) throw new Error('a write failed');
    files[file] = new Uint8Array(Math.max(held.length, offset + bytes.length));
    files[file].set(held);
    files[file].set(bytes, offset);
    bytes.fill(0); /* the driver has its own copy */
}

async function step(driver, files, random) {
    const file = random.below(2);
    const kind = random.below(10);
    const held = files[file].length;
    if (kind < 6) write(driver, files, file, random);
    else if (kind < 8) {
        const size = random.chance(2 / 3) ? random.below(held + 1) : Math.min(held, 65_536 * random.below(5));
        driver.execute(TRUNCATE, file, size, 0, NOTHING);
        files[file] = files[file].slice(0, size);
    } else if (kind === 8) driver.execute(SYNC, file, 0, 0, NOTHING);
    else if (random.chance(1 / 2)) await driver.durable();
    else await new Promise((done) => setTimeout(done, random.below(3)));
    if (random.chance(1 / 30)) await compare(driver, files, random);
}

async function life({ openIndexedDb, removeIndexedDb }, random) {
    await removeIndexedDb('model');
    const files = [NOTHING, NOTHING];
    for (let session = 0; session < 4; session++) {
        const options = { readOnly: false, mustExist: session > 0 };
        const { driver } = await openIndexedDb('model', LOCK, options);
        await compare(driver, files, random);
        for (let i = 0; i < 60; i++) await step(driver, files, random);
        if (random.chance(1 / 2)) await compare(driver, files, random);
        driver.close();
        await driver.closed;
    }
}

await conclude(async (outcomes) => {
    const { values } = parseArgs({
        options: { lives: { type: 'string', default: '12' }, seed: { type: 'string', default: '1' } },
    });
    const lives = rounds(Number(values.lives));
    await developmentPackage('fake-indexeddb/auto');
    const module = await driverModule();
    for (let i = 0; i < lives; i++) {
        const seed = Number(values.seed) + i;
        const failure = await life(module, randomFrom(seed)).catch((error) => error);
        outcomes.tell(`seed ${seed}`, failure ? [failure.stack] : []);
    }
});
