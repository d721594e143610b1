/*
 * Deltas from the common sources, as async iterables for DeltaStreamProcessor.streamDeltas: NDJSON and records from a
 * stream of bytes, messages of a WebSocket, server-sent events.
 *
 * Every delta is whole or refused with its place. A source that can wait is read only as fast as its deltas are taken;
 * one that cannot (a socket has no pause) is buffered up to a limit, beyond which it is closed and fails with LIMIT: to
 * go on, it is opened again behind the stream's position.
 */
import type { DeltaOperation } from '../delta.js';
import { VeltaError, checkOptions, describe, invalid } from '../errors.js';
import { type ByteSource, checkSignal, chunksOf } from './chunks.js';
import { type StreamDelta, corruptRecord, recordBytes } from './records.js';

/** Options of {@link readNdjson} and {@link readRecords}. */
export interface ReadDeltasOptions {
    readonly signal?: AbortSignal;
    /** The longest line or record taken, in bytes. Default 16 MiB. */
    readonly largest?: number;
}

/** Options of {@link readWebSocket}. */
export interface ReadSocketOptions {
    readonly signal?: AbortSignal;
    /** Bytes of messages that may wait to be taken; each counts as at least 64. Default 4 MiB. */
    readonly maxWaiting?: number;
}

/** What is used of a `WebSocket`. */
export interface SocketLike {
    binaryType: string;
    readonly readyState: number;
    addEventListener(type: string, listener: (event: never) => void): void;
    removeEventListener(type: string, listener: (event: never) => void): void;
    close(code?: number, reason?: string): void;
}

/** Options of {@link readEvents}. */
export interface ReadEventsOptions {
    readonly signal?: AbortSignal;
    /** Sent as `Last-Event-ID`: the server goes on behind it. The position of the stream, for instance. */
    readonly lastEventId?: string | number;
    /** Further headers. */
    readonly headers?: Readonly<Record<string, string>>;
    readonly credentials?: 'omit' | 'same-origin' | 'include';
    /** Attempts to connect in a row that may fail before the stream does. Default 5. */
    readonly attempts?: number;
    /** The longest event taken, in bytes. Default 16 MiB. */
    readonly largest?: number;
    /** What connects, in place of the environment's `fetch`. */
    readonly fetch?: typeof fetch;
}

const LARGEST = 16 << 20;
const WAITING = 4 << 20;
/** What a message takes at least, however little it says. */
const LEAST_BYTES = 64;
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 10_000;

function largestOf(where: string, options: ReadDeltasOptions): number {
    checkOptions(where, options, ['signal', 'largest']);
    return positive('largest', options.largest, LARGEST);
}

function positive(name: string, value: number | undefined, otherwise: number): number {
    if (value === undefined) return otherwise;
    if (!Number.isSafeInteger(value) || value < 1) {
        throw invalid(`${name} is a whole number from 1, not ${describe(value)}`);
    }
    return value;
}

// ---- records

/**
 * The records of a source, in blocks of whole ones: `streamDeltas` takes them as they are.
 * @throws {VeltaError} (the iteration) `CORRUPT` with the byte where a record begins that is damaged, cut off by the
 * end of the source, or too long; `CANCELLED`; what the source throws. Whole records before it were given.
 */
export async function* readRecords(
    source: ByteSource,
    options: ReadDeltasOptions = {},
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const largest = largestOf('readRecords', options);
    let rest = new Uint8Array(0);
    let offset = 0;
    for await (const chunk of chunksOf(source, options.signal)) {
        const bytes = new Uint8Array(rest.length + chunk.length);
        bytes.set(rest);
        bytes.set(chunk, rest.length);
        let end = 0;
        let failure: unknown;
        try {
            for (let next = 0; ; end += next) {
                next = recordBytes(bytes, end, bytes.length, largest, offset + end);
                if (next === 0 || end + next > bytes.length) break;
            }
        } catch (error) {
            failure = error;
        }
        if (end > 0) yield bytes.slice(0, end);
        if (failure !== undefined) throw failure;
        offset += end;
        rest = bytes.slice(end);
    }
    if (rest.length > 0) throw corruptRecord(offset, 'is cut off');
}

// ---- lines

/** Lines with their numbers, from 1; whether the last had its end. */
async function* linesOf(
    source: ByteSource,
    largest: number,
    signal: AbortSignal | undefined,
): AsyncGenerator<{ readonly text: string; readonly number: number }> {
    const decoder = new TextDecoder('utf-8', { fatal: true });
    let parts: Uint8Array[] = [];
    let length = 0;
    let number = 1;
    const line = (): { text: string; number: number } => {
        const text = decodeParts(decoder, parts, length, number);
        parts = [];
        length = 0;
        return { text, number: number++ };
    };
    const add = (part: Uint8Array): void => {
        length += part.length;
        if (length > largest) throw lineError(number, `is longer than ${largest} bytes`);
        if (part.length > 0) parts.push(part);
    };
    for await (const chunk of chunksOf(source, signal)) {
        let at = 0;
        for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, at)) {
            add(chunk.subarray(at, end));
            yield line();
            at = end + 1;
        }
        if (at < chunk.length) add(chunk.slice(at));
    }
    if (length > 0) yield line();
}

function decodeParts(decoder: TextDecoder, parts: readonly Uint8Array[], length: number, number: number): string {
    let bytes = parts[0] ?? new Uint8Array(0);
    if (parts.length > 1) {
        bytes = new Uint8Array(length);
        let at = 0;
        for (const part of parts) {
            bytes.set(part, at);
            at += part.length;
        }
    }
    try {
        return decoder.decode(bytes);
    } catch {
        throw lineError(number, 'is not UTF-8');
    }
}

function lineError(number: number, what: string): VeltaError {
    return new VeltaError('CORRUPT', `line ${number} ${what}`, { offset: number });
}

/**
 * The deltas of NDJSON: one object in JSON a line, empty lines left out. `vectorId` or `key`; `operation` as in
 * {@link DeltaOperation}, its arrays being arrays of numbers; and, where wanted, `metadata`, `timestamp` (milliseconds,
 * or a text that `Date` reads) and `sequence`. Other names are left alone.
 * @throws {VeltaError} (the iteration) `CORRUPT` with the number of the line, from 1, that is no delta, or cut off;
 * `CANCELLED`; what the source throws. The deltas of the lines before it were given.
 */
export async function* readNdjson(source: ByteSource, options: ReadDeltasOptions = {}): AsyncGenerator<StreamDelta> {
    const largest = largestOf('readNdjson', options);
    for await (const { text, number } of linesOf(source, largest, options.signal)) {
        if (text.trim() !== '') yield deltaOfText(text, (what) => lineError(number, what));
    }
}

type Fail = (what: string) => VeltaError;

function deltaOfText(text: string, fail: Fail): StreamDelta {
    let value: unknown;
    try {
        value = JSON.parse(text);
    } catch (cause) {
        throw fail(`is no JSON: ${(cause as Error).message}`);
    }
    return deltaOfJson(value, fail);
}

function deltaOfJson(value: unknown, fail: Fail): StreamDelta {
    if (typeof value !== 'object' || value === null) throw fail(`is no delta, but ${describe(value)}`);
    const { vectorId, key, operation, metadata, timestamp, sequence } = value as Record<string, unknown>;
    if (typeof operation !== 'object' || operation === null) throw fail('has no operation');
    if (vectorId === undefined && key === undefined) throw fail('names no vector: vectorId or key is missing');
    if (metadata !== undefined && (typeof metadata !== 'object' || metadata === null)) {
        throw fail('has metadata that is no object');
    }
    const time = timestamp === undefined ? undefined : timeOfJson(timestamp, fail);
    return {
        ...(vectorId === undefined ? { key } : { vectorId }),
        operation: operationOfJson(operation as Record<string, unknown>, fail),
        ...(metadata === undefined ? {} : { metadata }),
        ...(time === undefined ? {} : { timestamp: time }),
        ...(sequence === undefined ? {} : { sequence }),
    } as StreamDelta;
}

function timeOfJson(value: unknown, fail: Fail): number {
    const time = typeof value === 'string' ? Date.parse(value) : value;
    if (typeof time !== 'number' || !Number.isFinite(time)) throw fail('has a timestamp that is none');
    return Math.floor(time);
}

function operationOfJson(operation: Record<string, unknown>, fail: Fail): DeltaOperation {
    const { type, indices, values, vector, mode, factor, amount } = operation;
    const modes = mode === undefined ? {} : { mode: mode as 'add' | 'set' };
    switch (type) {
        case 'sparse':
            return { type, indices: indicesOf(indices, fail), values: floatsOf(values, 'values', fail), ...modes };
        case 'dense':
            return { type, vector: floatsOf(vector, 'vector', fail), ...modes };
        case 'create':
            return { type, vector: floatsOf(vector, 'vector', fail) };
        case 'scale':
            return { type, factor: factor as number };
        case 'offset':
            return { type, amount: amount as number };
        case 'delete':
            return { type };
        default:
            throw fail(`has an unknown operation: ${describe(type)}`);
    }
}

function floatsOf(value: unknown, name: string, fail: Fail): Float32Array {
    if (!Array.isArray(value) || !value.every((item) => typeof item === 'number')) {
        throw fail(`has no array of numbers as ${name}`);
    }
    return Float32Array.from(value as number[]);
}

function indicesOf(value: unknown, fail: Fail): Uint32Array {
    const isIndex = (item: unknown): boolean =>
        Number.isInteger(item) && (item as number) >= 0 && (item as number) < 2 ** 32;
    if (!Array.isArray(value) || !value.every(isIndex)) throw fail('has no array of indices');
    return Uint32Array.from(value as number[]);
}

// ---- sockets

/** What comes unasked and is taken one after the other; bounded. */
class Inbox<T> {
    readonly #items: { readonly item: T; readonly bytes: number }[] = [];
    readonly #most: number;
    #bytes = 0;
    #end: { readonly error?: unknown } | undefined;
    #wake: (() => void) | undefined;

    constructor(most: number) {
        this.#most = most;
    }

    /** False when there was no room: then it has ended with LIMIT, behind what is there. */
    put(item: T, size: number): boolean {
        if (this.#end !== undefined) return true;
        const bytes = Math.max(size, LEAST_BYTES);
        if (this.#bytes + bytes > this.#most) {
            const text = `more than ${this.#most} bytes wait to be taken: the source is faster than the database`;
            this.end({ error: new VeltaError('LIMIT', text) });
            return false;
        }
        this.#bytes += bytes;
        this.#items.push({ item, bytes });
        this.#wake?.();
        return true;
    }

    end(end: { readonly error?: unknown }): void {
        this.#end ??= end;
        this.#wake?.();
    }

    /** The next item, or undefined at the end. @throws what it ended with */
    async take(): Promise<T | undefined> {
        while (this.#items.length === 0 && this.#end === undefined) {
            await new Promise<void>((resolve) => (this.#wake = resolve));
        }
        const next = this.#items.shift();
        if (next !== undefined) {
            this.#bytes -= next.bytes;
            return next.item;
        }
        if (this.#end?.error !== undefined) throw this.#end.error;
        return undefined;
    }
}

/**
 * The deltas of a `WebSocket`'s messages: a text holds one or more lines of NDJSON (see {@link readNdjson}), a binary
 * message whole records, which are given as a block. A socket cannot be paused: beyond `maxWaiting` bytes it is closed.
 *
 * Call it before the first message can come. A socket that ends cleanly (codes 1000 and 1001) ends the stream; to
 * resume after another end, open a new socket that asks for what follows the stream's position.
 * @throws {VeltaError} (the iteration) `CORRUPT` for a message that holds something else, `offset` being the number of
 * the message, from 1; `LIMIT`; `IO` when the socket fails; `CANCELLED`. Deltas before it were given.
 */
export function readWebSocket(
    socket: SocketLike,
    options: ReadSocketOptions = {},
): AsyncGenerator<StreamDelta | Uint8Array> {
    checkOptions('readWebSocket', options, ['signal', 'maxWaiting']);
    const inbox = new Inbox<string | ArrayBuffer>(positive('maxWaiting', options.maxWaiting, WAITING));
    socket.binaryType = 'arraybuffer';
    const ended = listenTo(socket, inbox, options.signal);
    const messages = messagesOf(inbox, ended);
    const end = messages.return.bind(messages);
    // A generator that was not begun, or waits, does not hear that it is left.
    messages.return = (value: unknown) => {
        inbox.end({});
        ended();
        return end(value);
    };
    return messages;
}

function listenTo(socket: SocketLike, inbox: Inbox<string | ArrayBuffer>, signal: AbortSignal | undefined): () => void {
    const onMessage = (event: { readonly data: unknown }): void => {
        const { data } = event;
        const isText = typeof data === 'string';
        if (!isText && !(data instanceof ArrayBuffer)) {
            inbox.end({
                error: new VeltaError('TYPE', `a message is a text or an ArrayBuffer, not ${describe(data)}`),
            });
        } else if (!inbox.put(data, isText ? data.length * 2 : data.byteLength)) {
            socket.close(4009, 'the reader is too slow');
        }
    };
    const onClose = ({ code, wasClean }: { readonly code: number; readonly wasClean?: boolean }): void => {
        // Firefox tells the server's 1000 also of a connection that was cut before its messages were given.
        const isClean = (code === 1000 || code === 1001) && wasClean !== false;
        const how = wasClean === false ? 'was cut' : `was closed with code ${code}`;
        inbox.end(isClean ? {} : { error: new VeltaError('IO', `the socket ${how}`) });
    };
    const onError = (): void => inbox.end({ error: new VeltaError('IO', 'the socket failed') });
    const onAbort = (): void => {
        const cause: unknown = signal?.reason;
        inbox.end({ error: new VeltaError('CANCELLED', 'the stream was cancelled by its signal', { cause }) });
        socket.close(1000);
    };
    const listeners = { message: onMessage, close: onClose, error: onError } as const;
    for (const [type, listener] of Object.entries(listeners)) socket.addEventListener(type, listener as never);
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted === true) onAbort();
    if (socket.readyState > 1) inbox.end({ error: new VeltaError('IO', 'the socket was closed before') });
    return () => {
        for (const [type, listener] of Object.entries(listeners)) socket.removeEventListener(type, listener as never);
        signal?.removeEventListener('abort', onAbort);
        if (socket.readyState <= 1) socket.close(1000);
    };
}

async function* messagesOf(
    inbox: Inbox<string | ArrayBuffer>,
    ended: () => void,
): AsyncGenerator<StreamDelta | Uint8Array> {
    let number = 0;
    const fail: Fail = (what) => new VeltaError('CORRUPT', `message ${number} ${what}`, { offset: number });
    try {
        for (let data = await inbox.take(); data !== undefined; data = await inbox.take()) {
            number++;
            if (typeof data === 'string') yield* deltasOfText(data, fail);
            else yield wholeRecords(new Uint8Array(data), fail);
        }
    } finally {
        ended();
    }
}

/** All lines are read before the first is given: a message is whole or refused. */
function deltasOfText(text: string, fail: Fail): StreamDelta[] {
    return text
        .split('\n')
        .filter((line) => line.trim() !== '')
        .map((line) => deltaOfText(line, fail));
}

function wholeRecords(bytes: Uint8Array, fail: Fail): Uint8Array {
    for (let at = 0; at < bytes.length;) {
        let size = 0;
        try {
            size = recordBytes(bytes, at, bytes.length, bytes.length - at, at);
        } catch (error) {
            throw fail(`is damaged: ${(error as Error).message}`);
        }
        if (size === 0) throw fail(`is damaged: the record at byte ${at} is cut off`);
        at += size;
    }
    return bytes;
}

// ---- server-sent events

/**
 * The deltas of server-sent events (`text/event-stream`): the data of each event is one or more lines of NDJSON (see
 * {@link readNdjson}), and an `id` that is a whole number from 1 is the sequence number of its delta, where it brings
 * none and is the only one. It connects by `fetch`, which an `EventSource` is not: it can begin behind a given id, can
 * send headers, exists in Node as well, and is read only as fast as its deltas are taken. A connection that ends is
 * made again after the time that the server asks for, with the id of the last event given.
 *
 * It ends when the server answers 204.
 * @throws {VeltaError} (the iteration) `CORRUPT` for an event that holds something else, its number as `offset`; `IO`
 * when the server refuses or cannot be reached; `CANCELLED`
 */
export async function* readEvents(url: string | URL, options: ReadEventsOptions = {}): AsyncGenerator<StreamDelta> {
    checkOptions('readEvents', options, [
        ...['signal', 'lastEventId', 'headers', 'credentials', 'attempts', 'largest', 'fetch'],
    ]);
    const { signal } = options;
    const attempts = positive('attempts', options.attempts, 5);
    const state = new EventState(String(options.lastEventId ?? ''), positive('largest', options.largest, LARGEST));
    for (let failed = 0; ;) {
        checkSignal(signal);
        let failure: unknown;
        const before = state.number;
        try {
            const body = await connect(url, options, state.lastId);
            if (body === null) return;
            yield* eventsOf(body, state, signal);
        } catch (error) {
            if (signal?.aborted === true) checkSignal(signal);
            if (error instanceof VeltaError && !(error.code === 'IO' && RETRIED.has(error))) throw error;
            failure = error;
        }
        failed = state.number > before ? 0 : failed + 1;
        if (failed >= attempts) {
            if (failure instanceof VeltaError) throw failure;
            throw new VeltaError('IO', `the events of ${String(url)} end again and again`, { cause: failure });
        }
        await pause(Math.min(state.retryMs * 2 ** Math.max(0, failed - 1), LONGEST_WAIT_MS), signal);
    }
}

/** Failures after which another attempt may help. */
const RETRIED = new WeakSet<VeltaError>();

function retried(message: string, cause?: unknown): VeltaError {
    const error = new VeltaError('IO', message, { cause });
    RETRIED.add(error);
    return error;
}

/** The body of the answer; null: there is nothing more. */
async function connect(
    url: string | URL,
    options: ReadEventsOptions,
    lastId: string,
): Promise<ReadableStream<Uint8Array> | null> {
    const request = options.fetch ?? fetch;
    let response: Response;
    try {
        response = await request(url, {
            headers: {
                ...options.headers,
                Accept: 'text/event-stream',
                ...(lastId === '' ? {} : { 'Last-Event-ID': headerOf(lastId) }),
            },
            cache: 'no-store',
            ...(options.credentials === undefined ? {} : { credentials: options.credentials }),
            ...(options.signal === undefined ? {} : { signal: options.signal }),
        });
    } catch (cause) {
        throw retried(`${String(url)} cannot be reached: ${String(cause)}`, cause);
    }
    const { status, body } = response;
    if (status === 204) return null;
    const type = response.headers.get('Content-Type') ?? '';
    if (status === 200 && type.startsWith('text/event-stream') && body !== null) return body;
    await body?.cancel().catch(() => undefined);
    const text = `${String(url)} answered ${status} ${type}, not with events`;
    throw status === 429 || status >= 500 ? retried(text) : new VeltaError('IO', text);
}

/** A text as a header takes it: a character for each byte of its UTF-8. */
function headerOf(text: string): string {
    return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join('');
}

async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
    await new Promise<void>((resolve) => {
        const timer = setTimeout(done, milliseconds);
        function done(): void {
            clearTimeout(timer);
            signal?.removeEventListener('abort', done);
            resolve();
        }
        signal?.addEventListener('abort', done);
        if (signal?.aborted === true) done();
    });
    checkSignal(signal);
}

/** What goes on from one connection to the next. */
class EventState {
    lastId: string;
    retryMs = FIRST_WAIT_MS;
    /** Events given. */
    number = 0;
    readonly largest: number;

    constructor(lastId: string, largest: number) {
        if (/[\0\r\n]/.test(lastId)) throw invalid('an event id has no NUL and no end of a line');
        this.lastId = lastId;
        this.largest = largest;
    }
}

/** The fields of the event that is being read. */
interface EventFields {
    data: string[];
    bytes: number;
    id: string | undefined;
}

async function* eventsOf(
    body: ReadableStream<Uint8Array>,
    state: EventState,
    signal: AbortSignal | undefined,
): AsyncGenerator<StreamDelta> {
    const fail: Fail = (what) =>
        new VeltaError('CORRUPT', `event ${state.number + 1} ${what}`, { offset: state.number + 1 });
    let event: EventFields = { data: [], bytes: 0, id: undefined };
    // An event that the connection's end cuts off is dropped, as the standard says: it comes again.
    for await (const line of eventLines(body, state.largest, signal, fail)) {
        if (line !== '') {
            readField(line, event, state, fail);
            continue;
        }
        const { data, id } = event;
        event = { data: [], bytes: 0, id: undefined };
        if (data.length === 0) {
            state.lastId = id ?? state.lastId;
            continue;
        }
        const deltas = deltasOfText(data.join('\n'), fail);
        yield* id === undefined ? deltas : numbered(deltas, id);
        state.lastId = id ?? state.lastId;
        state.number++;
    }
}

function readField(line: string, event: EventFields, state: EventState, fail: Fail): void {
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'data') {
        event.bytes += value.length + 1; // and the end of its line
        if (event.bytes > state.largest) throw fail(`is longer than ${state.largest} bytes`);
        event.data.push(value);
    } else if (name === 'id' && !value.includes('\0')) {
        event.id = value;
    } else if (name === 'retry' && /^\d{1,9}$/.test(value)) {
        state.retryMs = Number(value);
    }
}

/** A delta alone in its event is numbered by the event's id. */
function numbered(deltas: StreamDelta[], id: string): StreamDelta[] {
    const [only] = deltas;
    const sequence = /^[1-9]\d{0,15}$/.test(id) ? Number(id) : 0;
    const isFit = deltas.length === 1 && only?.sequence === undefined && Number.isSafeInteger(sequence) && sequence > 0;
    return isFit ? [{ ...(only as StreamDelta), sequence }] : deltas;
}

/** Lines that end with CR, LF or both. What is behind the last end of a line is left out. */
async function* eventLines(
    body: ReadableStream<Uint8Array>,
    largest: number,
    signal: AbortSignal | undefined,
    fail: Fail,
): AsyncGenerator<string> {
    const decoder = new TextDecoder();
    let text = '';
    let afterReturn = false;
    for await (const chunk of chunksOf(body, signal)) {
        text += decoder.decode(chunk, { stream: true });
        if (text === '') continue;
        if (afterReturn && text.startsWith('\n')) text = text.slice(1);
        const lines = text.split(/\r\n|\r|\n/);
        afterReturn = text.endsWith('\r');
        text = lines.pop() as string;
        if (text.length > largest) throw fail(`is longer than ${largest} bytes`);
        yield* lines;
    }
}
