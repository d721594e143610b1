/*
 * What the objects of a shared store send their calls through: a connection to the worker that has the store, in this
 * tab or in another, which may be followed by one to another worker at any time.
 *
 * Objects hold handles of the line, which outlive connections: with each new one the tables and families are asked for
 * again by name, and the watches begun again, before any call goes there. Calls wait meanwhile, in order.
 *
 * When a connection dies, the calls under way fall into three kinds. Calls that change nothing, and those that may be
 * made twice (REPEATABLE), are made again. A change may have been made or not: its call rejects with UNCERTAIN, and it
 * is never sent twice. Iterators are snapshots that went with their worker: CLOSED. Where the worker has said that a
 * call was not made (Moved), or it was not sent yet, it is sent to the next one, whatever its kind.
 */
import { VeltaError } from '../errors.js';
import { sameAnswer } from '../live_search.js';
import type { SearchResult } from '../result.js';
import { type Connection, type Line, Moved, packCall, packSteps, Reference } from '../worker/client.js';
import type { Packed } from '../worker/pack.js';
import { endsObject, type HandleValue, type QueryStep, type RemoteKind, WRITING } from '../worker/protocol.js';

/** Writing calls that give the same when they are made twice: they open what is there, or tidy up. */
const REPEATABLE: ReadonlySet<string> = new Set([
    'Database.table',
    'Database.columnFamilyOrCreate',
    'Database.checkpoint',
    'Database.log.checkpoint',
]);

interface Waiting {
    readonly kind: RemoteKind;
    readonly handle: number;
    readonly method: string;
    readonly steps: readonly QueryStep[] | undefined;
    packed: Packed;
    /** Its arguments are a copy, which later changes of the caller's do not reach. */
    isCopied: boolean;
    resolve(value: unknown): void;
    reject(error: unknown): void;
}

/** An object that handles of the line stand for. */
interface Held {
    readonly kind: RemoteKind;
    /** How it is had from the database; undefined for iterators, and for the database itself. */
    readonly again: readonly [method: string, ...args: unknown[]] | undefined;
    connection: Connection;
    handle: number;
    /** Why it could not be had again. */
    failure: unknown;
}

interface Watch {
    readonly call: Waiting;
    stop: () => void;
}

/** @internal */
export class SharedLine implements Line {
    readonly #leave: () => Promise<void>;
    readonly #held = new Map<number, Held>();
    readonly #watches = new Set<Watch>();
    #queue: Waiting[] = [];
    #current: Connection | undefined;
    #refusal: VeltaError | undefined;
    #lastHandle = 0;
    #ended: VeltaError | undefined;

    /** `leave` is what closing the database does. */
    constructor(leave: () => Promise<void>) {
        this.#leave = leave;
    }

    call(kind: RemoteKind, handle: number, method: string, args: unknown[], steps?: QueryStep[]): Promise<unknown> {
        if (kind === 'Database' && method === 'close') return this.#leave();
        const called = new Promise((resolve, reject) => {
            const packed = deduplicated(method, packCall(method, args));
            const made = steps === undefined ? undefined : packSteps(steps);
            this.#take({ kind, handle, method, steps: made, packed, isCopied: false, resolve, reject });
        });
        return endsObject(kind, method) ? called.finally(() => this.#held.delete(handle)) : called;
    }

    release(handle: number): void {
        const held = this.#held.get(handle);
        this.#held.delete(handle);
        if (held !== undefined && held.connection === this.#current) held.connection.release(held.handle);
    }

    /** Calls that wait reject with CLOSED, and so do later ones. */
    end(error = new VeltaError('CLOSED', 'the store was closed')): void {
        this.#ended ??= error;
        this.#current = undefined;
        this.fail(this.#ended);
        this.#watches.clear();
        this.#held.clear();
    }

    /** Rejects the calls that wait for a connection. */
    fail(error: unknown): void {
        for (const { reject } of this.#queue.splice(0)) reject(error);
    }

    counts(): Readonly<Record<string, number>> {
        return { waiting: this.#queue.length, held: this.#held.size, watches: this.#watches.size };
    }

    /** The connection takes no more calls; those under way are answered by it. */
    pause(): void {
        this.#current = undefined;
        this.#refusal = undefined;
    }

    /** The worker that has the store refuses this tab: calls reject until another one has it. */
    refuse(error: VeltaError): void {
        this.#refusal = error;
        this.fail(error);
    }

    /** Goes on with a connection and the database in it. Gives the line's handle of the database, always the same. */
    async use(connection: Connection, database: HandleValue): Promise<HandleValue> {
        if (this.#lastHandle === 0) this.#hold(connection, database, undefined);
        const root = this.#held.get(1);
        if (root !== undefined) {
            root.connection = connection;
            root.handle = database.handle;
        }
        for (const held of [...this.#held.values()]) await this.#hadAgain(held, connection);
        /* Also those that come meanwhile. */
        for (const watch of this.#watches) await this.#watchAgain(watch, connection);
        if (!connection.isOver && this.#ended === undefined) {
            this.#current = connection;
            for (const call of this.#queue.splice(0)) this.#take(call);
        }
        return { ...database, handle: 1 };
    }

    async #hadAgain(held: Held, connection: Connection): Promise<void> {
        if (held.again === undefined || connection.ended !== undefined) return;
        const [method, ...args] = held.again;
        const database = this.#held.get(1) as Held;
        try {
            const found = await connection.call('Database', database.handle, method, args);
            held.handle = (found as Reference).value.handle;
            held.connection = connection;
            held.failure = undefined;
        } catch (error) {
            if (!connection.isOver) held.failure = error;
        }
    }

    async #watchAgain(watch: Watch, connection: Connection): Promise<void> {
        const { kind, handle, method, packed } = watch.call;
        const held = this.#held.get(handle);
        if (held !== undefined && isLate(held, connection)) await this.#hadAgain(held, connection);
        if (held?.connection !== connection || connection.ended !== undefined) return;
        try {
            const stop = (await connection.send(kind, held.handle, method, packed)) as () => void;
            if (this.#watches.has(watch)) watch.stop = stop;
            else stop();
        } catch {
            /* What it watched is gone, or the connection: then the next one begins it again. */
        }
    }

    #hold(connection: Connection, { kind, handle }: HandleValue, again: Held['again']): number {
        this.#held.set(++this.#lastHandle, { kind, again, connection, handle, failure: undefined });
        return this.#lastHandle;
    }

    /** Sends a call, or keeps it until it can be sent. */
    #take(call: Waiting): void {
        const refusal = this.#ended ?? this.#refusal;
        if (refusal !== undefined) {
            call.reject(refusal);
            return;
        }
        const connection = this.#current;
        const { signal } = call.packed;
        if (signal?.aborted === true) {
            call.reject(cancelled(call));
            return;
        }
        if (connection === undefined || connection.isOver) {
            copyArguments(call);
            this.#queue.push(call);
            signal?.addEventListener('abort', () => this.#cancel(call), { once: true });
            return;
        }
        const held = this.#held.get(call.handle);
        if (held !== undefined && isLate(held, connection)) {
            void this.#hadAgain(held, connection).then(() => this.#take(call));
            return;
        }
        if (held === undefined || held.connection !== connection) {
            call.reject(held?.failure ?? gone(call.kind));
            return;
        }
        if (isRepeatable(call)) copyArguments(call);
        const { kind, method, packed, steps } = call;
        connection.send(kind, held.handle, method, packed, steps).then(
            (value) => this.#succeed(call, connection, value),
            (error: unknown) => this.#fail(call, connection, error),
        );
    }

    #cancel(call: Waiting): void {
        const at = this.#queue.indexOf(call);
        if (at < 0) return;
        this.#queue.splice(at, 1);
        call.reject(cancelled(call));
    }

    #succeed(call: Waiting, connection: Connection, value: unknown): void {
        if (value instanceof Reference) {
            const handle = this.#hold(connection, value.value, wayTo(value.value));
            call.resolve(new Reference({ ...value.value, handle }));
        } else if (call.packed.callback !== undefined) {
            const watch = { call, stop: value as () => void };
            this.#watches.add(watch);
            const current = this.#current;
            if (current !== undefined && current !== connection) void this.#watchAgain(watch, current);
            call.resolve(() => {
                if (this.#watches.delete(watch)) watch.stop();
            });
        } else {
            call.resolve(value);
        }
    }

    #fail(call: Waiting, connection: Connection, error: unknown): void {
        const isLost = connection.ended !== undefined && error === connection.ended;
        if (!isLost && !(error instanceof Moved)) {
            call.reject(error);
        } else if (this.#ended !== undefined) {
            call.reject(isLost && WRITING.has(nameOf(call)) ? uncertain(call) : this.#ended);
        } else if (call.kind.endsWith('Iterator')) {
            call.reject(gone(call.kind));
        } else if (isLost && !isRepeatable(call)) {
            call.reject(uncertain(call));
        } else {
            if (error instanceof Moved && error.args !== undefined) takeBack(call, error.args);
            this.#take(call);
        }
    }
}

/** The answer that gave it was kept back (Connection) until the line had gone on with another connection. */
function isLate(held: Held, connection: Connection): boolean {
    return held.connection !== connection && held.again !== undefined && held.failure === undefined;
}

function nameOf({ kind, method }: Waiting): string {
    return `${kind}.${method}`;
}

function isRepeatable(call: Waiting): boolean {
    return !WRITING.has(nameOf(call)) || REPEATABLE.has(nameOf(call));
}

function uncertain(call: Waiting): VeltaError {
    const sentence =
        `${nameOf(call)}: the tab that had the store ended during the call, which may have been made or not; ` +
        'read what is there before making it again';
    return new VeltaError('UNCERTAIN', sentence);
}

function gone(kind: RemoteKind): VeltaError {
    if (!kind.endsWith('Iterator')) return new VeltaError('CLOSED', `the ${kind} was closed`);
    return new VeltaError('CLOSED', 'the snapshot of this iterator went with the tab that had the store; iterate anew');
}

function cancelled({ method, packed }: Waiting): VeltaError {
    return new VeltaError('CANCELLED', `${method} was cancelled`, { cause: packed.signal?.reason as unknown });
}

function takeBack(call: Waiting, args: unknown[]): void {
    call.packed = { ...call.packed, args };
    call.isCopied = true;
}

/** Later changes of the caller's arrays and objects must not reach a call that is made later. */
function copyArguments(call: Waiting): void {
    if (call.isCopied) return;
    try {
        takeBack(call, structuredClone(call.packed.args));
    } catch {
        /* What cannot be cloned is refused where it is sent. */
    }
}

/** How an object can be had again. @internal */
export function wayTo({ kind, fields }: HandleValue): Held['again'] {
    if (kind === 'Table') return ['table', fields['name']];
    if (kind === 'ColumnFamily') return ['columnFamily', fields['name'], { keys: fields['keys'] }];
    return undefined;
}

/** A live search that is begun again must not tell what it has told. */
function deduplicated(method: string, packed: Packed): Packed {
    const { callback, extras } = packed;
    if (method !== 'watch' || callback === undefined || extras.callback === 0) return packed;
    let last: SearchResult | undefined;
    const tell = (...values: unknown[]): void => {
        const [answer, error] = values as [SearchResult, VeltaError | undefined];
        if (error === undefined && last !== undefined && sameAnswer(answer, last)) return;
        last = answer;
        callback(...values);
    };
    return { ...packed, callback: tell };
}
