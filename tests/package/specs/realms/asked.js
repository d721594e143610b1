/*
 * What the workers of askWorker (support/workers.js) share: the package's entries, and answering the one message that
 * they get. A worker of a browser knows no import map.
 */
const isNode = typeof process === 'object';
const threads = isNode ? await import('node:worker_threads') : null;
const port = threads?.parentPort ?? globalThis;

/** Of the main thread of a process, or of a page. */
export const isMain = threads?.isMainThread ?? typeof document === 'object';

/** An entry of the package by its file: velta, arrow, parquet. */
export function entry(name) {
    const specifier = name === 'velta' ? name : `velta/${name}`;
    return import(isNode ? specifier : `/node_modules/velta/dist/${name}.js`);
}

/** Answers by what `work` makes of the message, or by its error. */
export function answer(work) {
    const receive = async (asked) => {
        try {
            port.postMessage(await work(asked));
        } catch (error) {
            port.postMessage({ error: String(error.stack) });
        }
    };
    if (isNode) port.on('message', receive);
    else port.onmessage = ({ data }) => receive(data);
    port.postMessage({ isReady: true });
}
