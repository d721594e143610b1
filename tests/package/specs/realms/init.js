/*
 * A realm that calls init with what it is given.
 */
import { createDatabase, init, moduleInfo } from 'velta';

/** The build that runs. */
export async function start(options) {
    await init(options);
    return moduleInfo().build;
}

export async function startResponse(url, build) {
    return start({ wasm: fetch(url), build });
}

/** A call that fails, then one that does not. */
export async function startAfter(failing, options) {
    const failed = await init(failing).then(
        () => false,
        () => true,
    );
    if (!failed) throw new Error('the first call succeeded');
    return start(options);
}

/** What a call says before init. */
export function afterImport() {
    try {
        createDatabase();
    } catch (error) {
        return error.code;
    }
    return 'ready';
}
