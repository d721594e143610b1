/**
 * Unpacks zstd by its own decoder in a WebAssembly module of its own (wasm/zstd): JavaScript takes twenty times as
 * long.
 *
 * Bytes come out into room that the caller bounds, whatever their frames say. The packed and the unpacked bytes lie in
 * the module's memory for the time of a call, which the caller charges; what the memory grew to is kept for the next
 * one, up to a limit.
 */
import { VeltaError } from '../errors.js';
import { bytesOf } from '../probes.js';

/** Unpacks frames of zstd into exactly so many bytes. @internal */
export type ZstdUnpacker = (packed: Uint8Array, length: number) => Uint8Array;

type Corrupt = (what: string) => VeltaError;

interface Exports {
    readonly memory: WebAssembly.Memory;
    readonly __heap_base: WebAssembly.Global<'i32'>;
    /** How many bytes came out, or an error's number below 0. */
    unpack(packed: number, packedBytes: number, out: number, bytes: number): number;
}

const PAGE_BYTES = 65_536;
/** A module whose memory is larger is made anew for the next file. */
const KEPT_BYTES = 32 << 20;
/** ZSTD_ErrorCode, as far as damage gives them. */
const ERRORS: Readonly<Record<number, string>> = {
    10: 'it is no frame of zstd',
    20: 'its bytes are damaged',
    22: 'its checksum differs',
    32: 'it needs a dictionary',
    70: 'it unpacks to more than it says',
    72: 'it ends early, or more follows',
};

function grow(memory: WebAssembly.Memory, bytes: number): void {
    const missing = bytes - memory.buffer.byteLength;
    if (missing <= 0) return;
    try {
        memory.grow(Math.ceil(missing / PAGE_BYTES));
    } catch (cause) {
        throw new VeltaError('NO_MEMORY', `unpacking zstd needs ${bytes} bytes, which were refused`, { cause });
    }
}

function unpackerOf({ memory, unpack, __heap_base: base }: Exports, corrupt: Corrupt): ZstdUnpacker {
    const start = base.value as number;
    return (packed, length) => {
        const out = Math.ceil((start + packed.length) / 16) * 16;
        grow(memory, out + length);
        const bytes = new Uint8Array(memory.buffer);
        bytes.set(packed, start);
        const count = unpack(start, packed.length, out, length);
        if (count !== length) {
            const why = count < 0 ? (ERRORS[-count] ?? `error ${-count}`) : 'it unpacks to less than it says';
            throw corrupt(`what zstd packed cannot be unpacked: ${why}`);
        }
        return bytes.slice(out, out + length);
    };
}

let compiled: Promise<WebAssembly.Module> | null = null;
let current: Exports | null = null;

async function compile(): Promise<WebAssembly.Module> {
    const { moduleText } = await import('./zstd_module.js');
    return WebAssembly.compile(bytesOf(moduleText));
}

/**
 * Gets what unpacks zstd.
 * @param corrupt - makes the error for bytes that are no such frames
 * @throws {VeltaError} BAD_MODULE where its file is not there or may not run
 * @internal
 */
export async function zstdUnpacker(corrupt: Corrupt): Promise<ZstdUnpacker> {
    try {
        compiled ??= compile();
        const module = await compiled;
        if (current === null || current.memory.buffer.byteLength > KEPT_BYTES) {
            current = (await WebAssembly.instantiate(module)).exports as unknown as Exports;
        }
        return unpackerOf(current, corrupt);
    } catch (cause) {
        compiled = null;
        const why = cause instanceof Error ? cause.message : String(cause);
        throw new VeltaError('BAD_MODULE', `the module that unpacks zstd could not be loaded: ${why}`, { cause });
    }
}
