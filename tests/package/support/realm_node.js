/*
 * openRealm in Node, both sides: a thread, or a process of its own.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { serve } from './realm_serve.js';

/** `send` and `listen` of two kinds of channel, as a MessagePort has them. */
function portOf(send, listen) {
    return {
        postMessage: send,
        set onmessage(handler) {
            listen((data) => handler({ data }));
        },
    };
}

export async function connect(url, { separate }) {
    const here = fileURLToPath(import.meta.url);
    if (separate) {
        const child = fork(here, [url], { serialization: 'advanced' });
        const ended = new Promise((done) => child.on('exit', done));
        const port = portOf(
            (message) => child.send(message),
            (handler) => child.on('message', handler),
        );
        return {
            port,
            kill: () => {
                child.kill('SIGKILL');
                return ended;
            },
        };
    }
    const thread = new Worker(here, { workerData: { realm: url } });
    const port = portOf(
        (message) => thread.postMessage(message),
        (handler) => thread.on('message', handler),
    );
    return { port, kill: () => thread.terminate() };
}

if (!isMainThread && workerData?.realm) {
    const port = portOf(
        (message) => parentPort.postMessage(message),
        (handler) => parentPort.on('message', handler),
    );
    serve(port, workerData.realm);
} else if (isMainThread && process.argv[1] === fileURLToPath(import.meta.url)) {
    const port = portOf(
        (message) => process.send(message),
        (handler) => process.on('message', handler),
    );
    process.on('disconnect', () => process.exit());
    serve(port, process.argv[2]);
}
