/*
 * A thread for the other end of a SharedDeltaPool (specs/realms/pool_worker.js).
 */
import { isNode } from './harness.js';
import { startWorker } from './workers.js';

export async function poolThread() {
    const worker = await startWorker(new URL('../specs/realms/pool_worker.js', import.meta.url).href);
    const waiting = new Map();
    let ready;
    const isReady = new Promise((done) => (ready = done));
    const receive = ({ id, result, error }) => {
        if (id === 0) return ready();
        const { done, failed } = waiting.get(id);
        if (error) failed(Object.assign(new Error(error.message), error));
        else done(result);
    };
    if (isNode) worker.on('message', receive);
    else worker.onmessage = ({ data }) => receive(data);
    await isReady;
    let last = 0;
    return {
        ask(action, given, transfer = []) {
            const id = ++last;
            const answer = new Promise((done, failed) => waiting.set(id, { done, failed }));
            worker.postMessage({ id, action, ...given }, transfer);
            return answer;
        },
        end: () => worker.terminate(),
    };
}
