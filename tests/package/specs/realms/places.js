/*
 * Where the storage specs run: each place has the name of a storage and runs functions of the modules beside this one.
 * Node: files here. Browsers: IndexedDB here, OPFS in a worker.
 */
import * as velta from 'velta';
import { isNode, temporaryFolder, temporaryName } from '../../support/harness.js';

/* States are compared byte by byte, and the bytes say how far an index is linked: so nothing is linked in between. */
const STILL = { autoIndex: false };

const modules = { stores: () => import('./stores.js') };

async function here(module, name, ...parameters) {
    return (await modules[module]())[name](velta, ...parameters);
}

/** `run(module, name, ...parameters)` in a new worker, and its end. */
export function startOpfsWorker() {
    const worker = new Worker(new URL('./opfs_worker.js', import.meta.url), { type: 'module' });
    const waiting = new Map();
    let calls = 0;
    worker.onmessage = ({ data: { id, result, error } }) => {
        const { done, failed } = waiting.get(id);
        waiting.delete(id);
        if (error === undefined) done(result);
        else failed(new Error(error));
    };
    worker.onerror = (event) => waiting.forEach(({ failed }) => failed(new Error(event.message)));
    const run = (module, name, ...parameters) =>
        new Promise((done, failed) => {
            waiting.set(++calls, { done, failed });
            worker.postMessage({ id: calls, module, name, parameters });
        });
    return { run, end: () => worker.terminate() };
}

function filePlace() {
    let directory;
    return {
        storage: 'file',
        readersShare: true,
        begin: async () => {
            directory = await temporaryFolder();
        },
        run: (module, name) => here(module, name, { ...STILL, storage: 'file', directory }, temporaryName()),
        end: () => undefined,
    };
}

function pagePlace() {
    return {
        storage: 'indexeddb',
        readersShare: true,
        begin: () => undefined,
        run: (module, name) => here(module, name, { ...STILL, storage: 'indexeddb' }, temporaryName()),
        end: () => undefined,
    };
}

function workerPlace() {
    let worker;
    return {
        storage: 'opfs',
        /* Firefox gives every synchronous handle exclusively. */
        readersShare: !navigator.userAgent.includes('Firefox'),
        begin: () => {
            worker = startOpfsWorker();
        },
        run: (module, name) =>
            worker.run(module, name, { ...STILL, storage: 'opfs', directory: 'test/stores' }, temporaryName()),
        end: () => worker.end(),
    };
}

export const places = isNode ? [filePlace()] : [pagePlace(), workerPlace()];
