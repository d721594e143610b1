/*
 * Workers for specs: running ones, and the options under which a stored database leaves nothing behind.
 */
import { isNode, temporaryFolder, temporaryName } from './harness.js';

/** A worker that a script runs in; the package's own by default. */
export async function startWorker(script = import.meta.resolve('velta/worker')) {
    if (!isNode) return new Worker(script, { type: 'module' });
    const threads = await import('node:worker_threads');
    return new threads.Worker(new URL(script));
}

/** What a worker of realms answers, once it is ready, to the one message that it gets; then it is ended. */
export async function askWorker(worker, message) {
    const answer = new Promise((done, failed) => {
        const receive = (data) => {
            if (data.isReady) worker.postMessage(message);
            else if (data.error) failed(new Error(data.error));
            else done(data);
        };
        if (typeof worker.on === 'function') worker.on('message', receive).on('error', failed);
        else Object.assign(worker, { onmessage: ({ data }) => receive(data), onerror: failed });
    });
    try {
        return await answer;
    } finally {
        await worker.terminate();
    }
}

/** A name for a new stored database and where it goes. */
export async function place(options = {}) {
    const directory = isNode ? { directory: await temporaryFolder() } : {};
    return [temporaryName(), { ...directory, ...options }];
}

/** Resolves when `holds()` does; an error after two seconds. */
export async function until(holds) {
    const started = Date.now();
    while (!(await holds())) {
        if (Date.now() - started > 2000) throw new Error(`in two seconds it never held: ${holds}`);
        await new Promise((done) => setTimeout(done, 5));
    }
}
