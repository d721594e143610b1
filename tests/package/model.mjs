/*
 * The package against a naive model (support/model.js): random lives in Node, in memory (exported and imported in
 * between) and in files (closed and opened in between).
 *
 * usage: node model.mjs [--lives N] [--steps N] [--seed N] [--storage memory|file]
 * A difference is told with its seed and step and the shortest life found that shows it. VELTA_SOAK=1 lives a hundred
 * times as many. The last line is "N passed, N failed".
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { clean, makeProject, root, rounds, temporaryFolder } from './lib/tools.mjs';

const { values } = parseArgs({
    options: {
        lives: { type: 'string', default: '240' },
        steps: { type: 'string', default: '800' },
        seed: { type: 'string', default: '1' },
        storage: { type: 'string' },
    },
});
const lives = rounds(Number(values.lives));
const LEAST_RECALL = 0.98;

const project = await makeProject({ copy: { support: join(root, 'tests/package/support') } });
await writeFile(join(project, 'entry.js'), "export * from 'velta';");
const velta = await import(pathToFileURL(join(project, 'entry.js')));
const { inMemory, liveOnce, shrink } = await import(pathToFileURL(join(project, 'support/model_life.js')));
await velta.init();

/** Closes and opens a store of files; every life has its own. */
function inFiles(directory, name) {
    return async (db, options) => {
        await db?.close();
        return velta.open(name, { ...options, storage: 'file', directory, durability: 'relaxed' });
    };
}

let stores = 0;
const directory = await temporaryFolder();
function optionsOf(seed) {
    const storage = values.storage ?? (seed % 8 === 0 ? 'file' : 'memory');
    const steps = Number(values.steps);
    if (storage === 'memory') return { seed, steps, reopen: inMemory(velta) };
    // a life that is lived again begins anew
    let current = null;
    return {
        seed,
        steps,
        reopen: (db, options) => {
            if (db === null) current = inFiles(directory, `life-${++stores}`);
            return current(db, options);
        },
    };
}

async function explain(seed, error) {
    console.log(`seed ${seed}, step ${error.step}: ${error.stack}`);
    const options = optionsOf(seed);
    const without = await shrink(velta, options, error.step);
    const log = [];
    await liveOnce(velta, { ...options, steps: error.step + 1, without, log }).catch((last) => log.push(last.message));
    console.log(`the shortest life found:\n${log.join('\n')}`);
}

const total = { steps: 0, searches: 0, hits: 0, wanted: 0 };
let failed = 0;
for (let i = 0; i < lives; i++) {
    const seed = Number(values.seed) + i;
    try {
        const counts = await liveOnce(velta, optionsOf(seed));
        for (const name of Object.keys(total)) total[name] += counts[name];
    } catch (error) {
        failed += 1;
        await explain(seed, error);
        if (failed === 3) break;
    }
}
await clean();
const recall = total.hits / Math.max(total.wanted, 1);
if (recall < LEAST_RECALL) {
    console.log(`recall ${recall.toFixed(4)} over ${total.searches} searches`);
    failed += 1;
}
console.log(`figure: model_operations ${total.steps}`);
console.log(`figure: model_differences ${failed}`);
console.log(`${lives - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
