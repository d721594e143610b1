/**
 * The worker that is one thread of the engine: an instance of the module that it is given, over the memory of the page.
 *
 * It sets its own stack and thread's variables, says that it is there, and then takes work inside the module for good.
 * It calls nothing of JavaScript's from there; the imports refuse.
 */
import { nodeModule } from './node.js';
import type { ThreadExports, ThreadStart } from './threads.js';

interface NodeThread {
    readonly workerData: ThreadStart;
    readonly parentPort: { postMessage(message: unknown): void } | null;
}

function refuse(): never {
    throw new Error('a thread of velta called JavaScript');
}

async function run({ module, memory, stack, local }: ThreadStart, ready: () => void): Promise<void> {
    const imports: Record<string, Record<string, WebAssembly.ImportValue>> = { env: { memory } };
    for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
        if (kind === 'function') (imports[from] ??= {})[name] = refuse;
    }
    const instance = await WebAssembly.instantiate(module, imports);
    const exports = instance.exports as unknown as ThreadExports;
    exports.__stack_pointer.value = stack;
    exports.__wasm_init_tls?.(local);
    ready();
    try {
        exports.abi_thread_run();
    } catch (error) {
        exports.abi_thread_failed();
        throw error;
    }
}

const node = nodeModule<NodeThread>('node:worker_threads');
if (node?.parentPort) {
    const port = node.parentPort;
    void run(node.workerData, () => port.postMessage('ready'));
} else {
    globalThis.onmessage = (event: MessageEvent<ThreadStart>) => {
        const answer = globalThis as unknown as { postMessage(message: unknown): void };
        run(event.data, () => answer.postMessage('ready')).catch((error: unknown) => {
            // Reported as an error of the worker, which the page hears.
            setTimeout(() => {
                throw error;
            });
        });
    };
}
