/*
 * Who may open a stored database: one writer, or any number of readers.
 *
 * In browsers a lock is a Web Lock named `velta:<storage>:<name>`, so that it goes with its tab or worker however that
 * ends. After a kill or a reload it can outlive its owner for about a second, so a request waits for `timeout` before
 * it fails with LOCKED; a lock is never stolen. Web Locks exist only in secure contexts (https or localhost): elsewhere
 * there is no safe way to keep two tabs apart, and persistent storage is UNSUPPORTED.
 *
 * Node has no storage of its own that these locks would guard (files are locked in node_file.ts). An IndexedDB there is
 * a library's, in the memory of the process, so it is guarded by a table in the same memory.
 */
import { VeltaError } from '../errors.js';

export interface Lock {
    /** Gives the lock back. Calling it again does nothing. */
    release(): void;
}

export interface LockOptions {
    /** Readers: any number of them at once, but no writer beside them. */
    readonly shared: boolean;
    /** Milliseconds to wait for another holder. */
    readonly timeout: number;
    readonly signal?: AbortSignal | undefined;
    /** Called when other code took the lock away (a Web Lock request with `steal`). */
    readonly onLost?: (() => void) | undefined;
}

export const DEFAULT_LOCK_TIMEOUT = 3000;
/** Timers cannot be longer. */
const MAX_MS = 2 ** 31 - 1;

/** @throws {VeltaError} CANCELLED when the signal is aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
    if (signal?.aborted) {
        throw new VeltaError('CANCELLED', 'the signal was aborted', { cause: signal.reason });
    }
}

/** The error of a lock that others hold. */
export function lockedError(name: string, shared: boolean): VeltaError {
    return new VeltaError(
        'LOCKED',
        `the database '${name}' is open${shared ? ' for writing' : ''} elsewhere (another tab, worker or process); ` +
            'close it there and try again',
    );
}

/**
 * Waits for the lock of the database `name` in `storage`.
 *
 * @throws {VeltaError} LOCKED when others still hold it after the timeout; CANCELLED; UNSUPPORTED without Web Locks.
 */
export async function acquireLock(storage: string, name: string, options: LockOptions): Promise<Lock> {
    throwIfAborted(options.signal);
    const locks = (globalThis.navigator as Navigator | undefined)?.locks;
    if (locks) {
        return requestWebLock(locks, `velta:${storage}:${name}`, name, options);
    }
    if (isNode()) {
        return waitInProcess(`${storage}:${name}`, name, options);
    }
    throw new VeltaError(
        'UNSUPPORTED',
        'persistent storage needs Web Locks, which browsers offer on https pages and localhost only',
    );
}

/** Whether this is Node (or what has its modules). */
export function isNode(): boolean {
    const process = (globalThis as { process?: { versions?: { node?: string } } }).process;
    return typeof process?.versions?.node === 'string';
}

function requestWebLock(locks: LockManager, lockName: string, name: string, options: LockOptions): Promise<Lock> {
    return new Promise((resolve, reject) => {
        const waiting = new AbortController();
        const stop = (): void => waiting.abort();
        let granted = false;
        let released = false;
        const timer = options.timeout > 0 ? setTimeout(stop, Math.min(options.timeout, MAX_MS)) : undefined;
        options.signal?.addEventListener('abort', stop, { once: true });
        const mode = options.shared ? 'shared' : 'exclusive';
        /* With ifAvailable a signal is not allowed; nothing is awaited then. */
        const request = timer === undefined ? { mode, ifAvailable: true } : { mode, signal: waiting.signal };
        const hold = (lock: unknown): Promise<void> | undefined => {
            clearTimeout(timer);
            options.signal?.removeEventListener('abort', stop);
            if (lock === null) {
                reject(lockedError(name, options.shared));
                return undefined;
            }
            granted = true;
            return new Promise<void>((end) => {
                resolve({
                    release: () => {
                        released = true;
                        end();
                    },
                });
            });
        };
        const ended = locks.request(lockName, request as globalThis.LockOptions, hold) as Promise<unknown>;
        ended.catch((error: unknown) => {
            clearTimeout(timer);
            options.signal?.removeEventListener('abort', stop);
            if (granted && !released) {
                options.onLost?.();
            } else if (options.signal?.aborted) {
                reject(new VeltaError('CANCELLED', 'the signal was aborted', { cause: options.signal.reason }));
            } else if (waiting.signal.aborted) {
                reject(lockedError(name, options.shared));
            } else {
                const sentence =
                    'this page may not use Web Locks (a sandboxed frame, or storage that was blocked), which stored ' +
                    'databases need; those of createDatabase() need none';
                reject(new VeltaError('UNSUPPORTED', sentence, { cause: error }));
            }
        });
    });
}

/* ---- within one process */

/** Holders by name: readers counted, -1 a writer. */
const held = new Map<string, number>();
const POLL_MS = 20;

/** Tries `take` until it says yes, for `timeout` milliseconds. @throws {VeltaError} LOCKED, CANCELLED. */
export async function pollUntil(
    take: () => boolean | Promise<boolean>,
    name: string,
    options: LockOptions,
): Promise<void> {
    const end = Date.now() + options.timeout;
    for (;;) {
        throwIfAborted(options.signal);
        if (await take()) return;
        if (Date.now() >= end) throw lockedError(name, options.shared);
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
}

async function waitInProcess(key: string, name: string, options: LockOptions): Promise<Lock> {
    const take = (): boolean => {
        const count = held.get(key) ?? 0;
        if (options.shared ? count < 0 : count !== 0) return false;
        held.set(key, options.shared ? count + 1 : -1);
        return true;
    };
    await pollUntil(take, name, options);
    let released = false;
    return {
        release: () => {
            if (released) return;
            released = true;
            const count = held.get(key) ?? 0;
            if (count <= 1) held.delete(key);
            else held.set(key, count - 1);
        },
    };
}
