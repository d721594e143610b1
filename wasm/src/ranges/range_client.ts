/**
 * Reads parts of a file on a web server by HTTP ranges (RFC 9110, section 14).
 *
 * Nothing of an answer is believed: its status, Content-Range, length and validators are compared with what was asked
 * for and with what earlier answers said. What can pass (a lost connection, 429, 500, 502, 503, 504) is asked for
 * again, three times at most, after 100, 200 and 400 ms or after what Retry-After says; what cannot is an error at
 * once.
 *
 * A file that changes while it is read would give bytes of two files. So the first answer's ETag or Last-Modified is
 * kept and every later answer must have the same; where no preflight comes of it (the own origin, Node), If-Range tells
 * the server too. Pages of other origins see these headers, and Content-Range, only where the server exposes them
 * (Access-Control-Expose-Headers); for them no header is sent that needs a preflight.
 *
 * A server that ignores ranges answers 200 with the whole file. Its body is not read, unless `allowWhole` says so.
 */
import { VeltaError, checkOptions, describe, invalid } from '../errors.js';
import { type Allocation, MemoryBudget } from './memory_budget.js';
import {
    type RangeSource,
    type RangeStats,
    type ReadRangeOptions,
    type Tail,
    cancelled,
    checkRange,
    unlessAborted,
} from './source.js';

/** Progress of reading, in bytes. */
export interface RangeProgress {
    /** Bytes that arrived since the client was made. */
    readonly bytesFetched: number;
    readonly requests: number;
    /** Size of the file; null until it is known. */
    readonly fileBytes: number | null;
}

/** Options of a {@link RangeClient}. */
export interface RangeClientOptions {
    /** Headers of every request, as Authorization. */
    readonly headers?: Readonly<Record<string, string>>;
    /** As in `fetch`; default 'same-origin'. */
    readonly credentials?: 'omit' | 'same-origin' | 'include';
    /** Requests at a time; default 6. */
    readonly maxParallel?: number;
    /** How long a server may say nothing before a request counts as lost; default 30,000. */
    readonly timeoutMs?: number;
    /** Whether a file is fetched whole from a server that ignores ranges; default false. */
    readonly allowWhole?: boolean;
    /** What a file that is fetched whole is charged to, until `release`; default a budget of its own. */
    readonly budget?: MemoryBudget;
    /** Ends everything the client does. */
    readonly signal?: AbortSignal;
    readonly onProgress?: (progress: RangeProgress) => void;
    /** Instead of the global `fetch`. */
    readonly fetch?: typeof fetch;
}

/** What a probe found out. */
export interface RangeProbe {
    /** Size of the file; null where the server does not say. */
    readonly size: number | null;
    readonly acceptsRanges: boolean;
    readonly etag: string | null;
    readonly lastModified: string | null;
}

/** The options of a client that others pass on. @internal */
export const CLIENT_OPTIONS = [
    'headers',
    'credentials',
    'maxParallel',
    'timeoutMs',
    'allowWhole',
    'budget',
    'signal',
    'fetch',
] as const;
const WAITS_MS = [100, 200, 400];
const LONGEST_WAIT_MS = 10_000;
const PASSING = new Set([408, 429, 500, 502, 503, 504]);

/** A failure that may pass; `waitMs` is what the server asked for. */
class Passing extends Error {
    readonly waitMs: number;

    constructor(message: string, waitMs: number) {
        super(message);
        this.waitMs = waitMs;
    }
}

/** What a callback of the caller's threw: it is passed on as it is. */
class FromCallback extends Error {
    readonly thrown: unknown;

    constructor(thrown: unknown) {
        super('a callback threw');
        this.thrown = thrown;
    }
}

function passing(message: string, waitMs = 0): Passing {
    return new Passing(message, waitMs);
}

function fromCallback(thrown: unknown): FromCallback {
    return new FromCallback(thrown);
}

/** What a request wants: from `start` to before `end`, or the last `suffix` bytes. */
interface Wanted {
    readonly start: number;
    readonly end: number;
    readonly suffix: number | null;
}

function positive(options: RangeClientOptions, name: 'maxParallel' | 'timeoutMs', otherwise: number): number {
    const value = options[name] ?? otherwise;
    if (!Number.isInteger(value) || value < 1) {
        throw invalid(`RangeClient: ${name} must be a whole number from 1, not ${describe(value)}`);
    }
    return value;
}

function addressOf(url: string | URL): URL {
    const { location } = globalThis as { location?: { href?: string } };
    try {
        const address = new URL(url, location?.href?.startsWith('http') ? location.href : undefined);
        if (address.protocol === 'http:' || address.protocol === 'https:') return address;
    } catch {
        // told below
    }
    throw invalid(`RangeClient: expected the address of a file (http or https), not ${describe(String(url))}`);
}

/** Milliseconds that Retry-After asks for: seconds or a date. */
function retryAfter(response: Response): number {
    const text = response.headers.get('Retry-After');
    if (text === null) return 0;
    const seconds = /^\d+$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - Date.now();
    return Number.isNaN(seconds) ? 0 : Math.max(0, seconds);
}

/** `bytes 0-9/100`; null where it is something else. */
function parseContentRange(text: string): { start: number; end: number; size: number | null } | null {
    const found = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/.exec(text.trim());
    if (found === null) return null;
    const [start, last] = [Number(found[1]), Number(found[2])];
    const size = found[3] === '*' ? null : Number(found[3]);
    return last < start || (size !== null && last >= size) ? null : { start, end: last + 1, size };
}

/** Reads a file on a server by ranges. */
export class RangeClient implements RangeSource {
    /** The file's address. */
    readonly url: string;
    /** The address for messages: not too long. */
    readonly #told: string;
    readonly #options: RangeClientOptions;
    readonly #fetch: typeof fetch;
    readonly #maxParallel: number;
    readonly #timeoutMs: number;
    /** Whether requests are of another origin than the page's, so that some headers cost a preflight. */
    readonly #isForeign: boolean;
    readonly #waiting: (() => void)[] = [];
    #running = 0;
    #requests = 0;
    #retries = 0;
    #fetched = 0;
    #size: number | null = null;
    #etag: string | null = null;
    #lastModified: string | null = null;
    #isKnown = false;
    readonly #budget: MemoryBudget;
    #whole: Uint8Array | null = null;
    /** What the whole file is charged with. */
    #held: Allocation | null = null;
    /** The whole file on its way: requests side by side wait for it. */
    #coming: Promise<void> | null = null;

    /** @throws {VeltaError} INVALID */
    constructor(url: string | URL, options: RangeClientOptions = {}) {
        checkOptions('RangeClient', options, [...CLIENT_OPTIONS, 'onProgress']);
        const address = addressOf(url);
        this.url = address.href;
        this.#told = this.url.length > 200 ? `${this.url.slice(0, 200)}…` : this.url;
        this.#options = options;
        this.#fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
        this.#budget = options.budget ?? new MemoryBudget();
        this.#maxParallel = positive(options, 'maxParallel', 6);
        this.#timeoutMs = positive(options, 'timeoutMs', 30_000);
        const { location } = globalThis as { location?: { origin?: string } };
        this.#isForeign = location?.origin !== undefined && location.origin !== address.origin;
    }

    /** Size of the file; null until an answer told it. */
    get size(): number | null {
        return this.#size;
    }

    /** What was transferred. */
    stats(): RangeStats {
        return { requests: this.#requests, retries: this.#retries, bytesFetched: this.#fetched };
    }

    /** Lets go of a file that was fetched whole, and gives its bytes back to the budget. */
    release(): void {
        this.#whole = null;
        this.#held?.release();
        this.#held = null;
    }

    /**
     * Asks what the file is, by HEAD or by its first byte.
     * @throws {VeltaError} NOT_FOUND, IO, UNSUPPORTED, CHANGED, CANCELLED
     */
    async probe(method: 'HEAD' | 'range' = 'range', options: ReadRangeOptions = {}): Promise<RangeProbe> {
        if (method !== 'HEAD' && method !== 'range') throw invalid(`probe: 'HEAD' or 'range', not ${describe(method)}`);
        let acceptsRanges = true;
        if (method === 'HEAD') {
            acceptsRanges = await this.#retried(options.signal, (signal) => this.#head(signal));
        } else {
            try {
                await this.#get({ start: 0, end: 1, suffix: null }, options.signal, true);
            } catch (error) {
                const code = error instanceof VeltaError && this.#size !== null ? error.code : '';
                const isEmpty = code === 'LIMIT' && this.#size === 0; // it has no first byte
                if (code !== 'UNSUPPORTED' && !isEmpty) throw error;
                acceptsRanges = isEmpty;
            }
        }
        return { size: this.#size, acceptsRanges, etag: this.#etag, lastModified: this.#lastModified };
    }

    /**
     * The bytes from `start` to before `end`, in a buffer of their own.
     * @throws {VeltaError} INVALID, LIMIT (beyond the end), NOT_FOUND, IO (the server or the way to it failed),
     *     UNSUPPORTED (it ignores ranges), CHANGED, CANCELLED, OVER_BUDGET (the file fetched whole)
     */
    async read(start: number, end: number, options: ReadRangeOptions = {}): Promise<Uint8Array> {
        checkRange(start, end);
        if (this.#size !== null && end > this.#size) throw this.#beyond(end);
        if (start === end) return new Uint8Array(0);
        return (await this.#get({ start, end, suffix: null }, options.signal)).bytes;
    }

    /**
     * The last bytes, or the whole file where it has fewer: one request, or two where a suffix would need a preflight.
     * @throws {VeltaError} as {@link RangeClient.read}
     */
    async readTail(bytes: number, options: ReadRangeOptions = {}): Promise<Tail> {
        if (!Number.isSafeInteger(bytes) || bytes < 1) {
            throw invalid(`readTail: a whole number of bytes from 1, not ${describe(bytes)}`);
        }
        if (this.#isForeign && this.#size === null) await this.#findSize(options);
        if (this.#size === null) {
            const { bytes: tail, start } = await this.#get({ start: 0, end: 0, suffix: bytes }, options.signal);
            return { bytes: tail, start, size: start + tail.length };
        }
        const start = Math.max(0, this.#size - bytes);
        return { bytes: await this.read(start, this.#size, options), start, size: this.#size };
    }

    /** Asks for the size without a header that needs a preflight; by a byte where HEAD is refused. */
    async #findSize(options: ReadRangeOptions): Promise<void> {
        try {
            await this.probe('HEAD', options);
        } catch (error) {
            if (!(error instanceof VeltaError) || error.code !== 'IO') throw error;
            await this.probe('range', options);
        }
    }

    #beyond(end: number): VeltaError {
        return new VeltaError('LIMIT', `${this.#told}: byte ${end} lies beyond the end, ${String(this.#size)}`);
    }

    #failure(what: string, cause?: unknown): VeltaError {
        return new VeltaError('IO', `${this.#told}: ${what}`, { cause });
    }

    // ---- attempts

    /** Runs attempts, a few at a time, until one succeeds or fails for good. */
    async #retried<T>(own: AbortSignal | undefined, attempt: (signal: AbortSignal) => Promise<T>): Promise<T> {
        const signals = [own, this.#options.signal].filter((each) => each !== undefined);
        const stop = new AbortController();
        const abort = (): void => stop.abort(signals.find((each) => each.aborted)?.reason);
        for (const each of signals) each.addEventListener('abort', abort);
        if (signals.some((each) => each.aborted)) abort();
        try {
            await this.#enter(stop.signal);
            try {
                return await this.#attempts(stop.signal, attempt);
            } finally {
                this.#running--;
                this.#waiting.shift()?.();
            }
        } finally {
            for (const each of signals) each.removeEventListener('abort', abort);
        }
    }

    /** Waits for a place among those that run. */
    async #enter(signal: AbortSignal): Promise<void> {
        while (this.#running >= this.#maxParallel && !signal.aborted) {
            let turn = (): void => undefined;
            const woken = new Promise<void>((done) => (turn = done));
            this.#waiting.push(turn);
            signal.addEventListener('abort', turn, { once: true });
            await woken;
            signal.removeEventListener('abort', turn);
            const place = this.#waiting.indexOf(turn);
            if (place >= 0) this.#waiting.splice(place, 1);
            else if (signal.aborted) this.#waiting.shift()?.(); // its turn had come: it is the next one's
        }
        if (signal.aborted) throw cancelled(signal);
        this.#running++;
    }

    async #attempts<T>(signal: AbortSignal, attempt: (signal: AbortSignal) => Promise<T>): Promise<T> {
        for (let tries = 0; ; tries++) {
            if (signal.aborted) throw cancelled(signal);
            try {
                return await attempt(signal);
            } catch (error) {
                if (error instanceof FromCallback) throw error.thrown;
                if (signal.aborted) throw cancelled(signal);
                if (!(error instanceof Passing)) throw error;
                const wait = Math.max(WAITS_MS[tries] ?? 0, error.waitMs);
                if (tries === WAITS_MS.length) throw this.#failure(`${error.message}, ${tries + 1} times`, error);
                if (wait > LONGEST_WAIT_MS) {
                    throw this.#failure(`${error.message}; the server asks to wait ${Math.ceil(wait / 1000)} s`, error);
                }
                await pause(wait, signal);
                this.#retries++;
            }
        }
    }

    // ---- one request

    /** Sends a request and hands its answer to `use`, with a clock that `alive` sets back. */
    async #send<T>(
        method: string,
        headers: Record<string, string>,
        signal: AbortSignal,
        use: (response: Response, alive: () => void) => Promise<T>,
    ): Promise<T> {
        const stop = new AbortController();
        const abort = (): void => stop.abort();
        let timer: ReturnType<typeof setTimeout> | undefined;
        const alive = (): void => {
            clearTimeout(timer);
            timer = setTimeout(abort, this.#timeoutMs);
        };
        signal.addEventListener('abort', abort);
        alive();
        this.#requests++;
        try {
            const response = await this.#fetch(this.url, {
                method,
                headers: { ...this.#options.headers, ...headers },
                credentials: this.#options.credentials ?? 'same-origin',
                // What a cache has may be parts of an older file.
                cache: 'no-store',
                signal: stop.signal,
            });
            alive();
            this.#checkStatus(response);
            return await use(response, alive);
        } catch (error) {
            if (error instanceof VeltaError || error instanceof Passing || error instanceof FromCallback) throw error;
            const why = stop.signal.aborted ? `nothing came for ${this.#timeoutMs} ms` : String(error);
            const blame = this.#isForeign ? '; or the server does not let pages of other origins read (CORS)' : '';
            throw passing(`the connection was lost (${why})${blame}`);
        } finally {
            clearTimeout(timer);
            signal.removeEventListener('abort', abort);
            stop.abort(); // what is left of a body that was not read
        }
    }

    /** Refuses statuses that are not of a file. */
    #checkStatus(response: Response): void {
        const { status } = response;
        if (status === 200 || status === 206 || status === 416) return;
        if (PASSING.has(status)) throw passing(`the server answered ${status}`, retryAfter(response));
        if (status === 412) throw this.#changed();
        if (status === 404 || status === 410) {
            throw new VeltaError('NOT_FOUND', `${this.#told}: the server answered ${status}, there is no such file`);
        }
        throw this.#failure(`the server answered ${status}`);
    }

    #changed(): VeltaError {
        return new VeltaError('CHANGED', `${this.#told}: the file is another one than when reading began; begin anew`);
    }

    /** Compares what an answer says of the file with what is known, or keeps it. @throws {VeltaError} CHANGED */
    #recognise(response: Response, size: number | null): void {
        const etag = response.headers.get('ETag');
        const lastModified = response.headers.get('Last-Modified');
        if (this.#isKnown) {
            const differs = (a: unknown, b: unknown): boolean => a !== null && b !== null && a !== b;
            if (differs(size, this.#size) || differs(etag, this.#etag)) throw this.#changed();
            // An ETag that agrees is the better witness: copies of one file may have several dates.
            if ((etag === null || this.#etag === null) && differs(lastModified, this.#lastModified)) {
                throw this.#changed();
            }
        }
        this.#isKnown = true;
        this.#size ??= size;
        this.#etag ??= etag;
        this.#lastModified ??= lastModified;
    }

    async #head(signal: AbortSignal): Promise<boolean> {
        return this.#send('HEAD', {}, signal, async (response) => {
            const length = response.headers.get('Content-Length');
            const isNumber = length !== null && /^\d{1,15}$/.test(length);
            // Length and ETag of a packed answer are those of what is packed, which ranges are not of.
            if (!isPacked(response)) this.#recognise(response, isNumber ? Number(length) : null);
            return response.headers.get('Accept-Ranges') === 'bytes';
        });
    }

    async #get(
        wanted: Wanted,
        signal: AbortSignal | undefined,
        isProbe = false,
    ): Promise<{ bytes: Uint8Array; start: number }> {
        let bytes = isProbe ? null : this.#whole;
        if (bytes === null) {
            const found = await this.#retried(signal, (stop) => this.#range(wanted, stop, isProbe));
            if (!(found instanceof Uint8Array)) return found;
            bytes = found;
        }
        const start = wanted.suffix === null ? wanted.start : Math.max(0, bytes.length - wanted.suffix);
        const end = wanted.suffix === null ? wanted.end : bytes.length;
        if (end > bytes.length) throw this.#beyond(end);
        return { bytes: bytes.slice(start, end), start };
    }

    /** One attempt at a range; the whole file where that came instead and was to. */
    async #range(
        wanted: Wanted,
        signal: AbortSignal,
        isProbe: boolean,
    ): Promise<{ bytes: Uint8Array; start: number } | Uint8Array> {
        const { start, end, suffix } = wanted;
        const headers: Record<string, string> = {
            Range: suffix === null ? `bytes=${start}-${end - 1}` : `bytes=-${suffix}`,
        };
        // A weak validator (W/…) does not do for If-Range.
        const validator = this.#etag?.startsWith('"') ? this.#etag : this.#lastModified;
        if (this.#isKnown && validator !== null && !this.#isForeign) headers['If-Range'] = validator;
        return this.#send('GET', headers, signal, async (response, alive) => {
            if (isPacked(response)) {
                const how = response.headers.get('Content-Encoding');
                throw new VeltaError(
                    'UNSUPPORTED',
                    `${this.#told}: the server packs what it sends (${how}), so its ranges are not the file's`,
                );
            }
            if (response.status === 416) return this.#unsatisfied(response, wanted);
            if (response.status === 200) return this.#wholeAnswer(response, wanted, isProbe, signal, alive);
            const place = this.#place(response, wanted);
            const length = place.end - place.start;
            return { bytes: await this.#body(response, length, alive), start: place.start };
        });
    }

    /** 416: the file is shorter than what was asked for; empty, where the end of it was. */
    #unsatisfied(response: Response, wanted: Wanted): { bytes: Uint8Array; start: number } {
        const found = /^bytes \*\/(\d{1,15})$/.exec(response.headers.get('Content-Range') ?? '');
        const size = found === null ? null : Number(found[1]);
        this.#recognise(response, size);
        if (wanted.suffix !== null && size === 0) return { bytes: new Uint8Array(0), start: 0 };
        if (wanted.suffix !== null) throw this.#failure('the server refused to send the end of the file (416)');
        if (this.#size === null) {
            throw new VeltaError(
                'LIMIT',
                `${this.#told}: byte ${wanted.end} lies beyond the end, says the server (416)`,
            );
        }
        if (wanted.end > this.#size) throw this.#beyond(wanted.end);
        throw this.#failure('the server refused to send a part of the file (416)');
    }

    /** Where the bytes of a 206 lie. @throws {VeltaError} IO, CHANGED, LIMIT */
    #place(response: Response, { start, end, suffix }: Wanted): { start: number; end: number } {
        const text = response.headers.get('Content-Range');
        if (text === null) {
            this.#recognise(response, null);
            const length = Number(response.headers.get('Content-Length') ?? NaN);
            if (this.#isForeign && suffix === null && this.#size === null && length < end - start) {
                this.#size = start + length; // fewer come where the file ends
                throw this.#beyond(end);
            }
            if (this.#isForeign && suffix === null) return { start, end }; // not exposed: the length is checked
            throw this.#failure('the server sent a part without Content-Range');
        }
        const place = parseContentRange(text);
        if (place === null) throw this.#failure(`the server's Content-Range cannot be read: ${text.slice(0, 80)}`);
        this.#recognise(response, place.size);
        if (suffix !== null) {
            const { size } = place;
            if (size === null || place.end !== size || place.start !== Math.max(0, size - suffix)) {
                throw this.#failure(`the server sent another part than the last ${suffix} bytes: ${text}`);
            }
        } else if (place.size !== null && end > place.size) {
            throw this.#beyond(end);
        } else if (place.start !== start || place.end !== end) {
            throw this.#failure(`the server sent another part than ${start}-${end - 1}: ${text}`);
        }
        return place;
    }

    /** 200: the file changed since, or the server ignores ranges. */
    async #wholeAnswer(
        response: Response,
        wanted: Wanted,
        isProbe: boolean,
        signal: AbortSignal,
        alive: () => void,
    ): Promise<{ bytes: Uint8Array; start: number } | Uint8Array> {
        const length = response.headers.get('Content-Length');
        const size = length !== null && /^\d{1,15}$/.test(length) ? Number(length) : null;
        this.#recognise(response, size);
        if (size !== null && wanted.suffix === null && wanted.start === 0 && wanted.end === size && !isProbe) {
            return { bytes: await this.#body(response, size, alive), start: 0 }; // all of it was asked for
        }
        if (this.#options.allowWhole !== true || isProbe) {
            throw new VeltaError(
                'UNSUPPORTED',
                `${this.#told}: the server ignores ranges; allowWhole fetches the whole file` +
                    (size === null ? '' : `, ${size} bytes`),
            );
        }
        if (size === null) throw this.#failure('the server ignores ranges and does not say how long the file is');
        while (this.#whole === null && this.#coming !== null) await unlessAborted(this.#coming, signal);
        if (this.#whole !== null) return this.#whole;
        let arrived = (): void => undefined;
        this.#coming = new Promise((done) => (arrived = done));
        try {
            return await this.#fetchWhole(response, size, signal, alive);
        } finally {
            this.#coming = null;
            arrived();
        }
    }

    /** The whole file, kept and charged until `release`. */
    async #fetchWhole(response: Response, size: number, signal: AbortSignal, alive: () => void): Promise<Uint8Array> {
        const allocation = this.#budget.allocate(size, `${this.#told}, fetched whole,`);
        try {
            const bytes = await this.#body(response, size, alive);
            if (signal.aborted) throw cancelled(signal);
            this.#held = allocation;
            return (this.#whole = bytes);
        } catch (error) {
            allocation.release();
            throw error;
        }
    }

    /** A body of exactly that length. */
    async #body(response: Response, length: number, alive: () => void): Promise<Uint8Array> {
        if (response.body === null) throw passing('the server sent no body');
        const bytes = reserve(length);
        let filled = 0;
        for (const reader = response.body.getReader(); ;) {
            const { done, value } = await reader.read();
            if (done) break;
            alive();
            this.#fetched += value.length;
            if (filled + value.length > length) throw this.#failure(`the server sent more than the ${length} bytes`);
            bytes.set(value, filled);
            filled += value.length;
            this.#report();
        }
        if (filled < length) throw passing(`the connection was lost (${filled} of ${length} bytes came)`);
        return bytes;
    }

    #report(): void {
        const { onProgress } = this.#options;
        try {
            onProgress?.({ bytesFetched: this.#fetched, requests: this.#requests, fileBytes: this.#size });
        } catch (error) {
            throw fromCallback(error);
        }
    }
}

/** Whether what is sent is packed, so that bytes of it are not bytes of the file. */
function isPacked(response: Response): boolean {
    const how = response.headers.get('Content-Encoding');
    return how !== null && how.trim() !== '' && how.trim().toLowerCase() !== 'identity';
}

/** @throws {VeltaError} NO_MEMORY */
function reserve(length: number): Uint8Array {
    try {
        return new Uint8Array(length);
    } catch (cause) {
        throw new VeltaError('NO_MEMORY', `${length} bytes of a file were refused`, { cause });
    }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((done, failed) => {
        const stop = (): void => {
            clearTimeout(timer);
            failed(cancelled(signal));
        };
        const timer = setTimeout(() => {
            signal.removeEventListener('abort', stop);
            done();
        }, ms);
        if (signal.aborted) stop();
        else signal.addEventListener('abort', stop, { once: true });
    });
}
