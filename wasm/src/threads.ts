/**
 * Threads that link indexes, the page's side: starts a worker for each of them and waits until all of them run.
 *
 * Each worker has an instance of the same module over the same memory (thread.ts), with a stack of its own that is
 * allocated here. From then on the engine hands out work through that memory; no message is sent any more, and a worker
 * without work sleeps. The workers live as long as the page; in Node they do not keep the process alive.
 */
import { startThread, threadFile } from './assets.js';
import { VeltaError } from './errors.js';
import type { Instance } from './instance.js';
import { nodeModule } from './node.js';

/** What the threads build exports besides. */
export interface ThreadExports {
    /** Takes the memory of `count` threads; `canSleep`: the calling thread may wait. Gives 0, or -1 when refused. */
    abi_threads_create(count: number, canSleep: number): number;
    /** The top of the stack of thread `index`, from 0. */
    abi_thread_stack(index: number): number;
    /** Memory for the thread's own variables. */
    abi_thread_local(index: number): number;
    /** Takes and does work for good. */
    abi_thread_run(): void;
    /** Says that a thread has failed, so that no one waits for it. */
    abi_thread_failed(): void;
    readonly __stack_pointer: WebAssembly.Global;
    __wasm_init_tls?(memory: number): void;
}

/** What a thread is started with. */
export interface ThreadStart {
    readonly module: WebAssembly.Module;
    readonly memory: WebAssembly.Memory;
    readonly stack: number;
    readonly local: number;
}

/** Whether memory can be shared with workers here. */
export function sharesMemory(): boolean {
    const { crossOriginIsolated } = globalThis as { crossOriginIsolated?: boolean };
    return typeof SharedArrayBuffer === 'function' && crossOriginIsolated !== false;
}

/** The number of processors, as far as it is told. */
export function processors(): number {
    const { navigator } = globalThis as { navigator?: { hardwareConcurrency?: number } };
    return navigator?.hardwareConcurrency ?? nodeModule<{ cpus(): unknown[] }>('node:os')?.cpus().length ?? 1;
}

/** What a worker of a browser and one of Node have in common, once it has started. */
interface Thread {
    /** Calls `ready` at the first message, and `fail` with what went wrong before or after. */
    listen(ready: () => void, fail: (error: unknown) => void): void;
    end(): void;
}

interface NodeWorker {
    on(event: 'message' | 'error', listener: (value: unknown) => void): void;
    unref(): void;
    terminate(): Promise<number>;
}

interface NodeThreads {
    Worker: new (file: URL, options: { workerData: unknown; name: string }) => NodeWorker;
}

function start(data: ThreadStart): Thread {
    const node = nodeModule<NodeThreads>('node:worker_threads');
    if (node !== undefined) {
        const worker = new node.Worker(threadFile(), { workerData: data, name: 'velta thread' });
        return {
            listen(ready, fail) {
                worker.on('message', () => {
                    worker.unref();
                    ready();
                });
                worker.on('error', fail);
            },
            end: () => void worker.terminate(),
        };
    }
    const worker = startThread();
    worker.postMessage(data);
    return {
        listen(ready, fail) {
            worker.onmessage = ready;
            worker.onerror = (event) => {
                event.preventDefault();
                fail(new Error(event.message || 'the script thread.js could not be loaded'));
            };
        },
        end: () => worker.terminate(),
    };
}

/** Whether this thread may sleep: any but a page's own. */
function canSleep(): boolean {
    const { document } = globalThis as { document?: unknown };
    return document === undefined;
}

/**
 * Starts so many threads besides the calling one.
 * @throws {VeltaError} WORKER when one cannot start, NO_MEMORY
 * @internal
 */
export async function startThreads(module: WebAssembly.Module, instance: Instance, count: number): Promise<void> {
    const exports = instance.exports as unknown as ThreadExports;
    if (exports.abi_threads_create(count, canSleep() ? 1 : 0) !== 0) {
        throw new VeltaError('NO_MEMORY', `the stacks of ${count} threads were refused`);
    }
    const threads: Thread[] = [];
    try {
        const { memory } = instance;
        await Promise.all(
            Array.from({ length: count }, (_, i) => {
                const stack = exports.abi_thread_stack(i) >>> 0;
                const thread = start({ module, memory, stack, local: exports.abi_thread_local(i) >>> 0 });
                threads.push(thread);
                return new Promise<void>((ready, fail) => thread.listen(ready, fail));
            }),
        );
    } catch (cause) {
        for (const thread of threads) thread.end();
        if (cause instanceof VeltaError) throw cause;
        throw new VeltaError('WORKER', `a thread could not start: ${(cause as Error).message}`, { cause });
    }
}
