/*
 * The client's end of a worker: starts one where none was given, in browsers and in Node, and notices its death.
 *
 * How a death shows: a browser's `error` event (a script that is absent, refused by the page's policy, or that threw),
 * Node's `error` and `exit`, and `messageerror`. A worker that someone else ends fires nothing in a browser; there the
 * session holds a Web Lock in the worker, and the client queues for it: getting it means that the worker is gone.
 */
import { startWorker, workerFile } from '../assets.js';
import { VeltaError } from '../errors.js';
import { nodeModule } from '../node.js';
import { sessionLock, type ClientMessage } from './protocol.js';

/** What is used of a worker of Node's `worker_threads`. */
export interface NodeWorker {
    postMessage(message: unknown, transfer?: ArrayBuffer[]): void;
    on(event: string, listener: (value: unknown) => void): unknown;
    off(event: string, listener: (value: unknown) => void): unknown;
    terminate(): unknown;
    ref(): void;
    unref(): void;
}

/** A running worker, or the address of a script to start one from; a module that imports the package's worker. */
export type WorkerSource = Worker | NodeWorker | URL | string;

export interface Channel {
    post(message: ClientMessage, transfer?: ArrayBuffer[]): void;
    /** In Node: whether the process must wait for answers. */
    busy(waiting: boolean): void;
    /** After the session exists: also notices ends that fire no event. */
    guard(session: number): void;
    /** Stops listening, and ends the worker unless it was given. */
    close(): void;
}

export interface Listener {
    message(data: unknown): void;
    death(error: VeltaError): void;
}

/** @throws {VeltaError} WORKER when the environment refuses to start one. */
export function openChannel(source: WorkerSource | undefined, listener: Listener): Channel {
    if (typeof source === 'object' && 'postMessage' in source) {
        return isNodeWorker(source) ? nodeChannel(source, false, listener) : webChannel(source, false, listener);
    }
    try {
        if (typeof Worker === 'function') {
            const worker = source === undefined ? startWorker() : new Worker(source, { type: 'module' });
            return webChannel(worker, true, listener);
        }
        return nodeChannel(startNodeWorker(source), true, listener);
    } catch (cause) {
        if (cause instanceof VeltaError) throw cause;
        throw death(`the worker could not be started: ${textOf(cause)}`, cause);
    }
}

/** An error that tells of a worker's end. */
export function death(sentence: string, cause?: unknown): VeltaError {
    return new VeltaError('WORKER', sentence, { cause });
}

function textOf(cause: unknown): string {
    return cause instanceof Error ? cause.message : String(cause);
}

function isNodeWorker(source: object): source is NodeWorker {
    return 'on' in source && 'unref' in source;
}

function startNodeWorker(source: URL | string | undefined): NodeWorker {
    const threads = nodeModule<{ Worker: new (script: URL | string) => NodeWorker }>('node:worker_threads');
    if (threads === undefined) throw new VeltaError('WORKER', 'this environment has no workers; use open() instead');
    let script = source ?? workerFile();
    if (typeof script === 'string' && script.startsWith('file:')) script = new URL(script);
    return new threads.Worker(script);
}

/** `owned`: started here, so that an uncaught error in it means that its state cannot be trusted. */
function webChannel(worker: Worker, owned: boolean, listener: Listener): Channel {
    const ended = new AbortController();
    const on = (type: string, handle: (event: Event) => void): void =>
        worker.addEventListener(type, handle, { signal: ended.signal });
    let ready = false;
    on('message', (event) => {
        ready = true;
        listener.message((event as MessageEvent).data);
    });
    on('messageerror', () => listener.death(death('a message of the worker could not be read; open the store again')));
    on('error', (event) => {
        if (ready && !owned) return;
        const text = (event as ErrorEvent).message;
        const reason = text ? `: ${text}` : '; its script may be absent or refused by the content security policy';
        listener.death(death(`the worker ${ready ? 'failed' : 'could not start'}${reason}`, event));
    });
    return {
        post: (message, transfer = []) => worker.postMessage(message, transfer),
        busy: () => undefined,
        guard(session) {
            const locks = (navigator as Partial<Navigator>).locks;
            const gone = (): void => listener.death(death('the worker was ended; open the store again'));
            locks?.request(sessionLock(session), { signal: ended.signal }, gone).catch(() => undefined);
        },
        close() {
            ended.abort();
            if (owned) worker.terminate();
        },
    };
}

function nodeChannel(worker: NodeWorker, owned: boolean, listener: Listener): Channel {
    const handlers: Record<string, (value: unknown) => void> = {
        message: (data) => listener.message(data),
        messageerror: () => listener.death(death('a message of the worker could not be read; open the store again')),
        error: (cause) => listener.death(death(`the worker failed: ${textOf(cause)}`, cause)),
        exit: (code) => listener.death(death(`the worker ended with code ${String(code)}; open the store again`)),
    };
    for (const [type, handle] of Object.entries(handlers)) worker.on(type, handle);
    return {
        post: (message, transfer = []) => worker.postMessage(message, transfer),
        busy(waiting) {
            if (owned) worker[waiting ? 'ref' : 'unref']();
        },
        guard: () => undefined,
        close() {
            for (const [type, handle] of Object.entries(handlers)) worker.off(type, handle);
            if (!owned) return;
            // An error after the end has no one else to hear it.
            worker.on('error', () => undefined);
            worker.terminate();
        },
    };
}
