/**
 * The messages of Arrow IPC: taken apart from bytes that are there, or from chunks as they come.
 *
 * A stream is messages one after the other: 0xFFFFFFFF, the length of the metadata, the metadata, the body; a length of
 * 0 is its end (before version 0.15 there was no 0xFFFFFFFF). A file is ARROW1, two bytes, messages, and a footer with
 * the schema and where each message lies: dictionaries may come last in it, and some writers leave the first schema
 * out, so that a file that comes in chunks is gathered before it is read.
 */
import { VeltaError } from '../errors.js';
import type { Allocation, MemoryBudget } from '../ranges/memory_budget.js';
import { type FileBlock, type Header, SCHEMA, corrupt, verifyFooter, verifyMessage } from './verify.js';

const MAGIC = Uint8Array.of(0x41, 0x52, 0x52, 0x4f, 0x57, 0x31); // ARROW1
const CONTINUATION = 0xffffffff;
const LONGEST = 0x7fffffff;
const EMPTY = new Uint8Array(0);

/** A message: its metadata, verified, with its length before it, and its body. @internal */
export interface Message extends Header {
    readonly bytes: Uint8Array;
    /** Of the schema of a file: where in the bytes, which are the footer, the reference to it is. */
    readonly schemaAt?: number;
    /** Bytes of the source up to its end. */
    readonly end: number;
    /** Gives what it was charged back to the budget. */
    release(): void;
}

const nothing = (): void => undefined;

function isFile(bytes: Uint8Array): boolean {
    return bytes.length >= MAGIC.length && MAGIC.every((byte, i) => bytes[i] === byte);
}

/** The length that stands before a message, and how many bytes it takes; 0: the stream's end. */
function prefix(view: DataView, at: number): { readonly bytes: number; readonly metadataBytes: number } {
    const isContinued = view.getUint32(at, true) === CONTINUATION;
    const metadataBytes = view.getUint32(isContinued ? at + 4 : at, true);
    if (metadataBytes > LONGEST) throw corrupt(`a message has ${metadataBytes} bytes of metadata`);
    return { bytes: isContinued ? 8 : 4, metadataBytes };
}

const cutOff = (): VeltaError => corrupt('it is cut off');

/** The message at a place of bytes that are there whole; null: the stream's end. */
function messageAt(bytes: Uint8Array, at: number): Message | null {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (at === bytes.length) return null; // a stream may also just end
    if (at + 4 > bytes.length || (view.getUint32(at, true) === CONTINUATION && at + 8 > bytes.length)) throw cutOff();
    const { bytes: before, metadataBytes } = prefix(view, at);
    if (metadataBytes === 0) return null;
    const start = at + before;
    if (start + metadataBytes > bytes.length) throw cutOff();
    const header = verifyMessage(bytes.subarray(start, start + metadataBytes));
    const end = start + metadataBytes + header.bodyBytes;
    if (end > bytes.length) throw cutOff();
    return { ...header, bytes: bytes.subarray(at, end), end, release: nothing };
}

/** Messages of bytes that are there whole: a file or a stream. @throws {VeltaError} CORRUPT, UNSUPPORTED @internal */
export function* messagesOfBytes(bytes: Uint8Array): Generator<Message, void> {
    if (isFile(bytes)) {
        yield* messagesOfFile(bytes);
        return;
    }
    let at = 0;
    for (let message = messageAt(bytes, at); message !== null; message = messageAt(bytes, at)) {
        yield message;
        at = message.end;
    }
}

function* messagesOfFile(bytes: Uint8Array): Generator<Message, void> {
    const tail = bytes.length - MAGIC.length - 4;
    if (tail < 8 || !isFile(bytes.subarray(tail + 4))) throw cutOff();
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const footerAt = tail - view.getUint32(tail, true);
    if (footerAt < 8) throw corrupt('its footer is longer than the file');
    const footer = bytes.subarray(footerAt, tail);
    const { version, schemaAt, dictionaries, records } = verifyFooter(footer);
    const blocks: FileBlock[] = [...dictionaries, ...records];
    // Messages that lie in each other would let a small file hold any number of rows.
    const total = blocks.reduce((sum, block) => sum + block.metadataBytes + block.bodyBytes, 0);
    if (total > footerAt) throw corrupt('its messages lie in each other');
    yield { version, kind: SCHEMA, bodyBytes: 0, bytes: footer, schemaAt, end: bytes.length, release: nothing };
    const messages = bytes.subarray(0, footerAt);
    for (const { offset, metadataBytes, bodyBytes } of blocks) {
        const message = offset < footerAt ? messageAt(messages, offset) : null;
        if (message === null || message.kind === SCHEMA || message.end > offset + metadataBytes + bodyBytes) {
            throw corrupt('its footer names a message that is not there');
        }
        yield message;
    }
}

/** Chunks as one run of bytes, of which so many are taken at a time. */
class Taker {
    readonly #chunks: AsyncIterator<Uint8Array>;
    #waiting: Uint8Array[] = [];
    #bytes = 0;
    /** Bytes taken so far. */
    taken = 0;

    constructor(chunks: AsyncIterator<Uint8Array>) {
        this.#chunks = chunks;
    }

    /** All bytes that are left, behind those in front; each chunk is charged before it is kept. */
    async rest(front: Uint8Array, budget: MemoryBudget): Promise<Pick<Message, 'bytes' | 'release'>> {
        const held: Allocation[] = [];
        const release = (): void => held.forEach((each) => each.release());
        try {
            for (;;) {
                const { done, value } = await this.#chunks.next();
                if (done === true) break;
                held.push(budget.allocate(value.length, 'an Arrow file'));
                this.#waiting.push(value);
                this.#bytes += value.length;
            }
            return { bytes: await this.take(this.#bytes, front), release };
        } catch (error) {
            release();
            throw error;
        }
    }

    /** The next bytes, behind those in front, in an array of their own; fewer where the source ends before. */
    async take(count: number, front: Uint8Array = EMPTY): Promise<Uint8Array> {
        while (this.#bytes < count) {
            const { done, value } = await this.#chunks.next();
            if (done === true) break;
            this.#waiting.push(value);
            this.#bytes += value.length;
        }
        const out = new Uint8Array(front.length + Math.min(count, this.#bytes));
        out.set(front);
        let at = front.length;
        let chunk = 0;
        while (at < out.length) {
            const first = this.#waiting[chunk] as Uint8Array;
            const part = first.subarray(0, out.length - at);
            out.set(part, at);
            at += part.length;
            if (part.length === first.length) chunk++;
            else this.#waiting[chunk] = first.subarray(part.length);
        }
        this.#waiting.splice(0, chunk);
        this.#bytes -= out.length - front.length;
        this.taken += out.length - front.length;
        return out;
    }
}

/**
 * Messages of chunks, each given when it is whole. What is read ahead is charged to the budget.
 * @throws {VeltaError} CORRUPT, UNSUPPORTED, OVER_BUDGET
 * @internal
 */
export async function* messagesOfChunks(
    chunks: AsyncIterator<Uint8Array>,
    budget: MemoryBudget,
): AsyncGenerator<Message, void> {
    const taker = new Taker(chunks);
    let head = await taker.take(8);
    if (isFile(head)) {
        const { bytes, release } = await taker.rest(head, budget);
        try {
            yield* messagesOfBytes(bytes);
        } finally {
            release();
        }
        return;
    }
    while (head.length > 0) {
        if (head.length < 4) throw cutOff();
        const view = new DataView(head.buffer);
        if (view.getUint32(0, true) === CONTINUATION && head.length < 8) throw cutOff();
        const { bytes: before, metadataBytes } = prefix(view, 0);
        if (metadataBytes === 0) return;
        const held: Allocation[] = [budget.allocate(metadataBytes, 'the metadata of an Arrow message')];
        const release = (): void => held.forEach((each) => each.release());
        try {
            // Again with the longer prefix, so that the body lies as aligned as it did.
            const front = new Uint8Array(16 - before);
            new DataView(front.buffer).setUint32(0, CONTINUATION, true);
            new DataView(front.buffer).setUint32(4, metadataBytes, true);
            front.set(head.subarray(before), 8);
            const whole = 8 + metadataBytes;
            const metadata = await taker.take(Math.max(0, whole - front.length), front);
            if (metadata.length !== whole) throw cutOff();
            const header = verifyMessage(metadata.subarray(8));
            held.push(budget.allocate(header.bodyBytes, 'the body of an Arrow message'));
            const bytes = await taker.take(header.bodyBytes, metadata);
            if (bytes.length !== whole + header.bodyBytes) throw cutOff();
            yield { ...header, bytes, end: taker.taken, release };
        } catch (error) {
            release();
            throw error;
        }
        head = await taker.take(8);
    }
}
