/*
 * A dedicated worker that uses the package by itself, as OPFS demands: runs functions of modules beside this one.
 */
import * as velta from '/node_modules/velta/dist/velta.js';

const modules = { stores: import('./stores.js'), faults: import('./opfs_faults.js') };

addEventListener('message', async ({ data: { id, module, name, parameters } }) => {
    try {
        const result = await (await modules[module])[name](velta, ...parameters);
        postMessage({ id, result });
    } catch (error) {
        postMessage({ id, error: `${error.code ?? ''} ${error.stack ?? error}` });
    }
});
