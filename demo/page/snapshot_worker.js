/*
 * Looks at a snapshot, and puts it in the store's place. This is done beside the page because OPFS gives a database's
 * file only to workers, and because the memory of a second module is given back when the worker ends.
 *
 * In: { step: 'check', snapshot, init }, then { step: 'restore', name, snapshot, storage }. Out, for each:
 * { error: null }, or { error } as VeltaError.toJSON gives it.
 */
import { VeltaError, importDatabase, init, restore } from './velta/velta.js';

/**
 * @param {Uint8Array} snapshot
 * @param {import('velta').InitOptions} options
 */
async function check(snapshot, options) {
    await init(options);
    const database = importDatabase(snapshot);
    const complete =
        ['packages', 'source', 'changes'].every((name) => database.hasTable(name)) &&
        database.table('changes').liveCount > 0;
    await database.close();
    if (!complete) throw new VeltaError('INVALID', 'it is a velta snapshot, but not one of this demo');
}

addEventListener('message', async ({ data }) => {
    try {
        if (data.step === 'check') await check(data.snapshot, data.init);
        else await restore(data.name, data.snapshot, data.storage);
        postMessage({ error: null });
    } catch (error) {
        postMessage({
            error: error instanceof VeltaError ? error.toJSON() : { code: 'WORKER', message: String(error) },
        });
    }
});
