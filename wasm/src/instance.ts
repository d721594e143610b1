/**
 * One instance of the WebAssembly module: its exports, views of its memory, space for arguments, strings, and the ids
 * under which the module calls back.
 *
 * Memory: the views are made anew whenever the memory grows, which happens only in `env.emscripten_resize_heap` here
 * or, in the threads build, in another thread; `refresh` looks for that. So a view must be read from the instance after
 * every call that may allocate, never kept in a variable across one.
 *
 * Arguments: a stack in one block. A call notes `top`, allocates, and puts `top` back when done (`leave`), so calls may
 * nest, as from a callback of one database into another. What does not fit into the block gets its own memory, given
 * back at the same moment.
 *
 * Callbacks: an exception must not unwind through wasm frames. It is caught in the import, kept, and thrown again when
 * the call returns (`check`, `rethrow`). A trap of the module leaves its memory in an unknown state: the instance is
 * poisoned and refuses every later call.
 */
import type { Address, Exports, Imports, Status } from './abi.js';
import { VeltaError, type VeltaCode, invalid } from './errors.js';
import { ERROR_OFFSET, ERROR_TEXT } from './generated/layout.js';
import { STATUS_NAMES, STATUS_SENTENCES, type StatusCode } from './generated/status.js';
import type { StorageDriver } from './storage/driver.js';

/** A report of long work: what is done and what there is (0: not known). Returning `false` cancels. */
export type Progress = (done: number, total: number) => unknown;

const PAGE_BYTES = 65_536;
const ARENA_BYTES = 256 << 10;
const ASCII_LOOP = 48;
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Objects under small numbers, from 1; freed numbers are used again. @internal */
export class IdTable<T> {
    readonly #items: (T | undefined)[] = [undefined];
    readonly #free: number[] = [];

    add(item: T): number {
        const id = this.#free.pop() ?? this.#items.length;
        this.#items[id] = item;
        return id;
    }

    get(id: number): T | undefined {
        return this.#items[id];
    }

    /** How many there are. */
    get size(): number {
        return this.#items.length - 1 - this.#free.length;
    }

    remove(id: number): void {
        if (this.#items[id] === undefined) return;
        this.#items[id] = undefined;
        this.#free.push(id);
    }
}

/** What the loader tells an instance about itself. @internal */
export interface InstanceDetails {
    readonly build: 'scalar' | 'simd128' | 'relaxed' | 'threads';
    readonly threads: number;
    readonly maxMemory: number;
}

/** @internal */
export class Instance {
    readonly build: InstanceDetails['build'];
    readonly threads: number;
    readonly maxMemory: number;
    readonly memory: WebAssembly.Memory;
    /** The module's functions; a trap in one must go through {@link Instance.caught}. */
    readonly exports: Exports;

    u8!: Uint8Array;
    i32!: Int32Array;
    u32!: Uint32Array;
    f32!: Float32Array;
    f64!: Float64Array;
    i64!: BigInt64Array;

    readonly clocks = new IdTable<() => number>();
    readonly storages = new IdTable<StorageDriver>();
    readonly watchers = new IdTable<(change: Address) => void>();
    readonly #progress = new IdTable<Progress>();

    /** Why every call is refused, once the module has failed. */
    poisoned: VeltaError | null = null;
    #thrown: { readonly error: unknown } | null = null;

    /** The next free byte of the argument block. */
    top = 0;
    readonly #end: number;
    readonly #extra: { readonly address: Address; readonly bytes: number; readonly mark: number }[] = [];
    readonly #shared: boolean;

    private constructor(details: InstanceDetails, memory: WebAssembly.Memory, exports: Exports) {
        this.build = details.build;
        this.threads = details.threads;
        this.maxMemory = details.maxMemory;
        this.memory = memory;
        this.exports = exports;
        this.#shared = !(memory.buffer instanceof ArrayBuffer);
        this.#view();
        this.top = this.allocate(ARENA_BYTES);
        this.#end = this.top + ARENA_BYTES;
    }

    /**
     * Instantiates a module.
     * @param extra - further imports, which win over the usual ones: what the threads build needs
     */
    static async create(
        module: WebAssembly.Module,
        memory: WebAssembly.Memory,
        details: InstanceDetails,
        extra: WebAssembly.Imports = {},
    ): Promise<Instance> {
        const holder: { instance?: Instance } = {};
        const imports = {
            velta: { ...velta(holder), ...extra['velta'] },
            env: { ...environment(holder, memory, details.maxMemory), ...extra['env'] },
        };
        for (const name of Object.keys(extra)) {
            if (name !== 'velta' && name !== 'env') Object.assign(imports, { [name]: extra[name] });
        }
        const { exports } = await WebAssembly.instantiate(module, imports as unknown as WebAssembly.Imports);
        const functions = exports as unknown as Exports & { __wasm_call_ctors?: () => void };
        functions.__wasm_call_ctors?.();
        holder.instance = new Instance(details, memory, functions);
        return holder.instance;
    }

    // ---- memory

    #view(): void {
        const { buffer } = this.memory;
        this.u8 = new Uint8Array(buffer);
        this.i32 = new Int32Array(buffer);
        this.u32 = new Uint32Array(buffer);
        this.f32 = new Float32Array(buffer);
        this.f64 = new Float64Array(buffer);
        this.i64 = new BigInt64Array(buffer);
    }

    /** What JavaScript holds for the module and the argument space in use; for tests of leaks. */
    counts(): Record<string, number> {
        const { clocks, storages, watchers } = this;
        return {
            clocks: clocks.size,
            storages: storages.size,
            watchers: watchers.size,
            progress: this.#progress.size,
            apart: this.#extra.length,
            top: this.top,
        };
    }

    /** Makes the views anew if the memory has grown. */
    refresh(): void {
        if (this.#shared ? this.memory.buffer.byteLength !== this.u8.byteLength : this.u8.byteLength === 0)
            this.#view();
    }

    /** Memory that stays until `release`; 16-byte aligned. */
    allocate(bytes: number): Address {
        if (bytes > this.maxMemory) throw this.#noMemory(bytes);
        const address = this.exports.abi_allocate(Math.max(bytes, 1)) >>> 0;
        if (address === 0) throw this.#noMemory(bytes);
        this.refresh();
        return address;
    }

    release(address: Address, bytes: number): void {
        if (this.poisoned === null) this.exports.abi_release(address, Math.max(bytes, 1));
    }

    #noMemory(bytes: number): VeltaError {
        return new VeltaError(
            'NO_MEMORY',
            `${bytes} bytes were refused; the module may use ${this.maxMemory} (option maxMemory of init)`,
        );
    }

    /** Space for arguments until the call's `leave`; aligned to 8 bytes. */
    space(bytes: number): Address {
        const address = this.top;
        const top = address + ((bytes + 7) & ~7);
        if (top <= this.#end && bytes <= ARENA_BYTES) {
            this.top = top;
            return address;
        }
        return this.#spaceApart(bytes);
    }

    #spaceApart(bytes: number): Address {
        const address = this.allocate(bytes);
        this.#extra.push({ address, bytes, mark: this.top });
        this.top += 8; // so that the mark of a nested call lies above this one's
        return address;
    }

    /** Gives back the space allocated since `top` was `mark`. */
    leave(mark: number): void {
        this.top = mark;
        if (this.#extra.length > 0) this.#leaveApart(mark);
    }

    #leaveApart(mark: number): void {
        for (let last = this.#extra.at(-1); last !== undefined && last.mark >= mark; last = this.#extra.at(-1)) {
            this.#extra.pop();
            this.release(last.address, last.bytes);
        }
    }

    // ---- strings

    /**
     * Writes a string as UTF-8, a NUL after it, into argument space. Gives the address; {@link Instance.stringBytes}
     * has the length without the NUL.
     * @throws {VeltaError} INVALID for a lone surrogate
     */
    string(text: string, what: string): Address {
        const { length } = text;
        if (length <= ASCII_LOOP) {
            const address = this.space(length + 1);
            const { u8 } = this;
            let i = 0;
            for (; i < length; i++) {
                const code = text.charCodeAt(i);
                if (code >= 0x80) break;
                u8[address + i] = code;
            }
            if (i === length) {
                u8[address + length] = 0;
                this.stringBytes = length;
                return address;
            }
        }
        const bytes = utf8Bytes(text, what);
        const address = this.space(bytes + 1);
        this.encode(text, address, bytes);
        this.u8[address + bytes] = 0;
        this.stringBytes = bytes;
        return address;
    }

    /** The length in bytes of the string written last. */
    stringBytes = 0;

    /** Like `string`, for where C reads up to the NUL: names and filter texts. */
    cString(text: string, what: string): Address {
        if (typeof text !== 'string') throw invalid(`${what} must be a string`);
        if (text.includes('\0')) throw invalid(`${what} must not contain the character U+0000`, text.indexOf('\0'));
        return this.string(text, what);
    }

    /** Writes a string of known length in UTF-8 at an address; for one that was measured with `utf8Bytes`. */
    encode(text: string, address: Address, bytes: number): void {
        const { u8 } = this;
        if (bytes === text.length && bytes <= ASCII_LOOP) {
            for (let i = 0; i < bytes; i++) u8[address + i] = text.charCodeAt(i);
        } else if (this.#shared) {
            u8.set(encoder.encode(text), address);
        } else {
            encoder.encodeInto(text, u8.subarray(address, address + bytes));
        }
    }

    /** The string of so many bytes at an address. */
    text(address: Address, bytes: number): string {
        const { u8 } = this;
        if (bytes <= ASCII_LOOP) {
            let text = '';
            let i = 0;
            for (; i < bytes; i++) {
                const code = u8[address + i] as number;
                if (code >= 0x80) break;
                text += String.fromCharCode(code);
            }
            if (i === bytes) return text;
        }
        const view = this.#shared ? u8.slice(address, address + bytes) : u8.subarray(address, address + bytes);
        return decoder.decode(view);
    }

    /** The string up to the NUL at an address; '' at 0. */
    cText(address: Address): string {
        const start = address >>> 0;
        if (start === 0) return '';
        this.refresh();
        return this.text(start, this.u8.indexOf(0, start) - start);
    }

    // ---- outcomes

    /** Throws what a failed call has to say; does nothing for 0. */
    check(status: Status): void {
        if (status !== 0 || this.#thrown !== null) throw this.failure(status);
    }

    /** Throws what a callback threw during the call that has just returned. */
    rethrow(): void {
        const thrown = this.#thrown;
        if (thrown === null) return;
        this.#thrown = null;
        throw thrown.error;
    }

    /** The error of a call that failed with this status. */
    failure(status: Status): unknown {
        const thrown = this.#thrown;
        if (thrown !== null) {
            this.#thrown = null;
            return thrown.error;
        }
        this.refresh();
        const error = this.exports.abi_error() >>> 0;
        const code: VeltaCode = (STATUS_NAMES[status] as StatusCode | undefined) ?? 'INVALID';
        const low = this.u32[(error + ERROR_OFFSET) >>> 2] as number;
        const high = this.u32[(error + ERROR_OFFSET + 4) >>> 2] as number;
        const offset = high === 0xffffffff ? undefined : high * 4_294_967_296 + low;
        const text = this.cText(error + ERROR_TEXT);
        return new VeltaError(code, text === '' ? STATUS_SENTENCES[code as StatusCode] : text, { offset });
    }

    /** Keeps the first exception of a callback until the call returns. */
    keep(error: unknown): void {
        this.#thrown ??= { error };
    }

    /** Runs a callback; what an earlier one threw is not for the calls that this one makes of other databases. */
    apart(callback: () => void): void {
        const before = this.#thrown;
        this.#thrown = null;
        try {
            callback();
        } catch (error) {
            this.#thrown = { error };
        }
        this.#thrown = before ?? this.#thrown;
    }

    /**
     * What to throw for an exception seen around a call of the module: a trap poisons the instance; a refusal of memory
     * by the engine of JavaScript becomes NO_MEMORY; the rest is as it was.
     */
    caught(error: unknown): unknown {
        if (error instanceof VeltaError) return error;
        const exhausted = error instanceof Error && /call stack|too much recursion/i.test(error.message);
        if (error instanceof WebAssembly.RuntimeError || exhausted) {
            this.poisoned = new VeltaError(
                'POISONED',
                `the WebAssembly module failed (${(error as Error).message}) and cannot be used any more; what was ` +
                    'flushed before is in storage: reload the page, or start a new worker or process',
                { cause: error },
            );
            return this.poisoned;
        }
        if (error instanceof RangeError && /alloc|array length|array buffer/i.test(error.message)) {
            return new VeltaError('NO_MEMORY', `JavaScript refused memory: ${error.message}`, { cause: error });
        }
        return error;
    }

    /** Runs a call with a progress function under an id of its own (0 without one). */
    withProgress<T>(report: Progress | undefined, call: (id: number) => T): T {
        if (report === undefined) return call(0);
        const id = this.#progress.add(report);
        try {
            return call(id);
        } finally {
            this.#progress.remove(id);
        }
    }

    /** The import `progress`. */
    report(id: number, done: number, total: number): number {
        const report = this.#progress.get(id);
        if (this.#thrown !== null) return 0;
        try {
            return report !== undefined && report(done, total) === false ? 0 : 1;
        } catch (error) {
            this.keep(error);
            return 0;
        }
    }
}

/**
 * The number of bytes of a string in UTF-8.
 * @throws {VeltaError} INVALID for a lone surrogate, which UTF-8 cannot carry
 * @internal
 */
export function utf8Bytes(text: string, what: string): number {
    const { length } = text;
    let bytes = length;
    for (let i = 0; i < length; i++) {
        const code = text.charCodeAt(i);
        if (code < 0x80) continue;
        if (code < 0x800) {
            bytes++;
        } else if ((code & 0xf800) !== 0xd800) {
            bytes += 2;
        } else {
            const next = code < 0xdc00 ? text.charCodeAt(i + 1) : 0;
            if ((next & 0xfc00) !== 0xdc00) {
                throw invalid(
                    `${what} has half of a surrogate pair at index ${i}, which is no text; see toWellFormed()`,
                );
            }
            bytes += 2;
            i++;
        }
    }
    return bytes;
}

/** The imports of module "velta". `holder` gets the instance once it exists; none is called before. */
function velta(holder: { instance?: Instance }): Record<keyof Imports, unknown> {
    const instance = (): Instance => holder.instance as Instance;
    const imports: Imports = {
        now: (id) => {
            const clock = id === 0 ? undefined : instance().clocks.get(id);
            if (clock === undefined) return Date.now();
            try {
                const now = clock();
                if (Number.isFinite(now)) return Math.floor(now);
                throw invalid(`the clock given as option 'now' gave ${String(now)}`);
            } catch (error) {
                instance().keep(error);
                return Date.now();
            }
        },
        clock: () => performance.now(),
        execute: (id, kind, file, offset, size, buffer) => {
            const own = instance();
            const driver = own.storages.get(id);
            if (driver === undefined) return -15;
            own.refresh();
            const start = buffer >>> 0;
            try {
                return driver.execute(kind, file, offset, size, own.u8.subarray(start, start + size));
            } catch (error) {
                own.keep(error);
                return -15;
            }
        },
        close_storage: (id) => {
            const own = instance();
            try {
                own.storages.get(id)?.close();
            } catch (error) {
                own.keep(error);
            }
            own.storages.remove(id);
        },
        progress: (id, done, total) => instance().report(id, done, total),
        change: (id, change) => {
            const own = instance();
            own.apart(() => {
                own.refresh();
                own.watchers.get(id)?.(change >>> 0);
            });
        },
    };
    return { ...imports };
}

/** The imports of module "env": what Emscripten's C library asks for. */
function environment(
    holder: { instance?: Instance },
    memory: WebAssembly.Memory,
    maxMemory: number,
): Record<string, unknown> {
    return {
        memory,
        emscripten_resize_heap: (wanted: number): number => {
            const bytes = wanted >>> 0;
            const now = memory.buffer.byteLength;
            if (bytes <= now) return 1;
            if (bytes > maxMemory) return 0;
            const generous = Math.min(maxMemory, Math.max(bytes, now + Math.min(now >>> 2, 64 << 20)));
            for (const goal of [generous, bytes]) {
                try {
                    memory.grow(Math.ceil((goal - now) / PAGE_BYTES));
                    holder.instance?.refresh();
                    return 1;
                } catch {
                    // refused: the smaller goal, then the module is told
                }
            }
            return 0;
        },
        emscripten_memcpy_big: (to: number, from: number, bytes: number): void => {
            new Uint8Array(memory.buffer).copyWithin(to >>> 0, from >>> 0, (from >>> 0) + (bytes >>> 0));
        },
    };
}

let current: Instance | null = null;

/** The instance that `init()` made. @throws {VeltaError} NOT_READY before, POISONED after a failure @internal */
export function currentInstance(): Instance {
    if (current === null) {
        throw new VeltaError('NOT_READY', 'velta is not ready: await init() first');
    }
    if (current.poisoned !== null) throw current.poisoned;
    return current;
}

/** Makes an instance the one that databases are created in; called by `init()`. @internal */
export function setInstance(instance: Instance | null): void {
    current = instance;
}
