/*
 * Runs the scripted life inside a module and prints its digest: life.mjs BUILD MODULE THREAD_JS
 * The threads build runs it with three threads, two of them workers.
 */
import { readFile } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';

const [build, path, threadFile] = process.argv.slice(2);
const shared = build === 'threads';
const memory = new WebAssembly.Memory({ initial: 16, maximum: 16384, shared });
const module = await WebAssembly.compile(await readFile(path));

const text = (address) => {
    const bytes = new Uint8Array(memory.buffer).slice(address, address + 300);
    return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
};
const imports = {
    env: {
        memory,
        emscripten_resize_heap: (bytes) => {
            memory.grow(Math.ceil((bytes - memory.buffer.byteLength) / 65536));
            return 1;
        },
    },
    velta: { now: Date.now, clock: () => performance.now(), progress: () => 1 },
    test: {
        failed: (what, file, line) => {
            throw new Error(`${text(file)}:${line}: ${text(what)}`);
        },
    },
};
// What else the C library would ask for is never reached.
for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    if (kind !== 'function') continue;
    imports[from] ??= {};
    imports[from][name] ??= () => {
        throw new Error(`the module called ${from}.${name}`);
    };
}
const { exports } = await WebAssembly.instantiate(module, imports);
exports.__wasm_call_ctors();

const workers = [];
if (shared) {
    if (exports.abi_threads_create(2, 1) !== 0) throw new Error('the threads were refused');
    for (let i = 0; i < 2; i++) {
        const workerData = { module, memory, stack: exports.abi_thread_stack(i), local: exports.abi_thread_local(i) };
        const worker = new Worker(threadFile, { workerData });
        workers.push(worker);
        await new Promise((done, fail) => worker.once('message', done).once('error', fail));
    }
}
const digest = BigInt.asUintN(64, exports.life(shared ? 3 : 1));
console.log(`digest ${digest.toString(16).padStart(16, '0')}`);
await Promise.all(workers.map((worker) => worker.terminate()));
