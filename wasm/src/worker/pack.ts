/*
 * Makes arguments ready to be cloned.
 *
 * Typed arrays are cloned with the whole buffer behind them: a view of a part of one is copied first, so that a query
 * cut out of a large array costs its own length, and so is a view of shared memory, which would not be copied at all.
 * The caller's buffers are never transferred. Filters become their text. A callback or an AbortSignal is taken out and
 * noted in Extras. Whatever else cannot be cloned is refused with the argument's place.
 */
import { VeltaError } from '../errors.js';
import { Filter } from '../filter.js';
import type { Extras } from './protocol.js';

export interface Packed {
    readonly args: unknown[];
    readonly extras: Extras;
    readonly signal: AbortSignal | undefined;
    readonly onProgress: ((done: number, total: number) => void) | undefined;
    readonly callback: ((...values: unknown[]) => void) | undefined;
}

/** Values nested deeper than this are left to the clone. */
const DEEPEST = 6;

/** `takesCallback`: one of the arguments may be a function. @throws {VeltaError} INVALID for what cannot cross. */
export function pack(args: readonly unknown[], takesCallback: boolean): Packed {
    const extras: { -readonly [K in keyof Extras]: Extras[K] } = {};
    let signal: Packed['signal'];
    let onProgress: Packed['onProgress'];
    let callback: Packed['callback'];
    const packed = args.map((arg, i) => {
        if (takesCallback && callback === undefined && typeof arg === 'function') {
            callback = arg as (...values: unknown[]) => void;
            extras.callback = i;
            return undefined;
        }
        if (!isPlain(arg)) return packValue(arg, `argument ${i + 1}`, 0);
        let options: Record<string, unknown> = arg;
        if (isSignal(arg['signal'])) {
            signal = arg['signal'];
            extras.signal = i;
            options = without(options, 'signal');
        }
        if (typeof arg['onProgress'] === 'function') {
            onProgress = arg['onProgress'] as (done: number, total: number) => void;
            extras.progress = i;
            options = without(options, 'onProgress');
        }
        return packValue(options, `argument ${i + 1}`, 0);
    });
    if ((signal ?? onProgress) !== undefined && sharesMemory()) extras.flag = new Int32Array(new SharedArrayBuffer(4));
    return { args: packed, extras, signal, onProgress, callback };
}

/** Browsers share memory between isolated pages and their workers only; Node always does. */
function sharesMemory(): boolean {
    return typeof SharedArrayBuffer === 'function' && globalThis.crossOriginIsolated !== false;
}

function isPlain(value: unknown): value is Record<string, unknown> {
    if (typeof value !== 'object' || value === null) return false;
    const prototype: unknown = Object.getPrototypeOf(value);
    return prototype === Object.prototype || prototype === null;
}

function isSignal(value: unknown): value is AbortSignal {
    return typeof AbortSignal === 'function' && value instanceof AbortSignal;
}

function without(options: Record<string, unknown>, name: string): Record<string, unknown> {
    const { [name]: _, ...rest } = options;
    return rest;
}

function packValue(value: unknown, place: string, depth: number): unknown {
    if (typeof value === 'function' || typeof value === 'symbol') {
        throw new VeltaError('INVALID', `${place} is a ${typeof value}, which cannot be sent to a worker`);
    }
    if (typeof value !== 'object' || value === null || depth > DEEPEST) return value;
    if (ArrayBuffer.isView(value)) return packView(value, place);
    if (value instanceof Filter) return value.toString();
    if (Array.isArray(value)) return packArray(value, place, depth);
    return isPlain(value) ? packRecord(value, place, depth) : value;
}

/** Arrays that begin with a number or a text are taken to go on so: the clone refuses what is wrong in them. */
function packArray(values: readonly unknown[], place: string, depth: number): unknown {
    const first = values[0];
    if (typeof first === 'number' || typeof first === 'string' || typeof first === 'bigint') return values;
    let copy: unknown[] | undefined;
    for (let i = 0; i < values.length; i++) {
        const packed = packValue(values[i], `${place}[${i}]`, depth + 1);
        if (packed !== values[i]) (copy ??= values.slice())[i] = packed;
    }
    return copy ?? values;
}

function packRecord(values: Record<string, unknown>, place: string, depth: number): unknown {
    let copy: Record<string, unknown> | undefined;
    for (const name of Object.keys(values)) {
        const value = values[name];
        const packed = packValue(value, `${place}.${name}`, depth + 1);
        if (packed !== value) (copy ??= { ...values })[name] = packed;
    }
    return copy ?? values;
}

function packView(view: ArrayBufferView, place: string): ArrayBufferView {
    const { buffer } = view;
    const shared = typeof SharedArrayBuffer === 'function' && buffer instanceof SharedArrayBuffer;
    if (!shared && buffer.byteLength === view.byteLength && !(buffer as { resizable?: boolean }).resizable) {
        if (view.byteLength === 0 && (buffer as { detached?: boolean }).detached === true) {
            throw new VeltaError('INVALID', `${place} is an array whose memory was given away`);
        }
        return view;
    }
    if (view instanceof DataView) {
        return new Uint8Array(new Uint8Array(buffer, view.byteOffset, view.byteLength));
    }
    return (view as Float32Array).slice();
}
