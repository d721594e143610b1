/*
 * The client of a store that lives in a worker: one connection per openWorker() call, and the objects that stand for
 * those in the worker.
 *
 * Calls are sent at once and answered in any order; they start in the order of the calls here, so a read after a write
 * sees it without waiting for the write's answer, and writes that are under way together share the storage's commit.
 * When the worker dies, every pending and every later call rejects with WORKER and the reason.
 *
 * What stands for an object of the worker holds a handle. close() gives it back; a forgotten one is given back when it
 * is collected. The connection never refers to these objects, so that they can be.
 */
import { type WasmBuild, wasmBuilds, wasmSource } from '../assets.js';
import type { ColumnStoreOpenOptions } from '../column_store.js';
import type { DeltaVectorDBOpenOptions } from '../delta_vector_db.js';
import { describe, invalid, VeltaError, type VeltaErrorData } from '../errors.js';
import type { InitOptions } from '../module.js';
import type { OpenOptions } from '../storage/open.js';
import { type Channel, type Listener, openChannel, death, type WorkerSource } from './channel.js';
import { pack, type Packed } from './pack.js';
import {
    type ClientMessage,
    type HandleValue,
    METHODS,
    PROPERTIES,
    PROTOCOL_VERSION,
    QUERY_STEPS,
    type QueryStep,
    type RemoteKind,
    type RootKind,
    type ShareValue,
} from './protocol.js';
import type { RemoteColumnStore, RemoteDatabase, RemoteDeltaVectorDB } from './remote.js';

/** `Symbol.asyncDispose`, also where the environment does not have it yet. */
const asyncDispose = (Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')) as typeof Symbol.asyncDispose;

interface Call {
    readonly method: string;
    resolve(value: unknown): void;
    reject(error: unknown): void;
    readonly packed: Packed;
    /** Stops listening to the caller's AbortSignal. */
    readonly stop: () => void;
    /** An abort was sent: reports still on their way are not told. */
    aborted: boolean;
}

interface Held {
    readonly connection: Line;
    readonly handle: number;
}

const forgotten = new FinalizationRegistry<Held>(({ connection, handle }) => connection.release(handle));

/** Methods that take a function, which is called in this thread. */
const CALLBACKS: ReadonlySet<string> = new Set(['watch', 'onDelta']);

type ClientBody = ClientMessage extends infer M ? (M extends unknown ? Omit<M, 'velta'> : never) : never;

/** What the objects here send their calls through. @internal */
export interface Line {
    call(kind: RemoteKind, handle: number, method: string, args: unknown[], steps?: QueryStep[]): Promise<unknown>;
    /** The handle's object was collected. */
    release(handle: number): void;
    end(): void;
}

/** Arguments ready to be sent. @internal */
export function packCall(method: string, args: unknown[]): Packed {
    return readable(() => pack(args, CALLBACKS.has(method)));
}

/** @internal */
export class Connection implements Line {
    readonly session = 1 + Math.floor(Math.random() * (Number.MAX_SAFE_INTEGER - 1));
    readonly #calls = new Map<number, Call>();
    readonly #callbacks = new Map<number, (...values: unknown[]) => void>();
    #channel: Channel | undefined;
    readonly #listener: ConnectionListener;
    #lastId = 0;
    #ended: VeltaError | undefined;
    #isLeft = false;

    constructor(listener: ConnectionListener = {}) {
        this.#listener = listener;
    }

    /** Why nothing can be asked any more. */
    get ended(): VeltaError | undefined {
        return this.#ended;
    }

    /** No more calls are to be made: it has ended, or the store is about to leave its worker. */
    get isOver(): boolean {
        return this.#isLeft || this.#ended !== undefined;
    }

    /** How many calls wait for their answers. */
    get pending(): number {
        return this.#calls.size;
    }

    /** Starts the worker and opens the store. Gives the handle of the store. */
    async open(
        source: WorkerSource | undefined,
        root: RootKind,
        name: string,
        options: Record<string, unknown>,
        init: object | undefined,
        share?: ShareValue,
    ): Promise<HandleValue> {
        if (this.#ended !== undefined) throw this.#ended;
        try {
            this.#start(source);
            const packed = packed1(options);
            const [given] = packed.args;
            const message = { type: 'open', version: PROTOCOL_VERSION, root, name, options: given, init, share };
            const opened = (await this.#send('open', message as ClientBody, packed, true)) as Reference;
            this.#channel?.guard(this.session);
            return opened.value;
        } catch (error) {
            /* Also to a worker that was given: it may have opened the store meanwhile. */
            this.kill(error instanceof VeltaError && error.code === 'WORKER' ? error : closed('the store'));
            throw error;
        }
    }

    /** Starts the worker and has it open a copy of a database in memory from an export, which is handed over. */
    async copy(
        source: WorkerSource | undefined,
        snapshot: Uint8Array<ArrayBuffer>,
        options: object,
        init: object | undefined,
    ): Promise<HandleValue> {
        this.#start(source);
        try {
            const { args, extras } = readable(() => pack([options], false));
            const message = { type: 'open', version: PROTOCOL_VERSION, root: 'Database', name: 'copy', snapshot };
            const body = { ...message, options: args[0], init } as unknown as ClientBody;
            const opened = await this.#send('open', body, { args, extras } as Packed, true, [snapshot.buffer]);
            this.#channel?.guard(this.session);
            return (opened as Reference).value;
        } catch (error) {
            this.end();
            throw error;
        }
    }

    /** Joins the store that another tab's worker shares. When the worker refuses, the connection is not ended. */
    async join(channel: (listener: Listener) => Channel, term: string, follows: boolean): Promise<HandleValue> {
        this.#channel = channel(this.#channelListener());
        this.#channel.guard(this.session);
        const message = { type: 'attach', version: PROTOCOL_VERSION, term, follows };
        const joined = await this.#send('attach', message as ClientBody, pack([], false), true);
        return (joined as Reference).value;
    }

    /** Starts the worker, has it restore a database from bytes that are handed over, and ends it. */
    async restore(
        source: WorkerSource | undefined,
        name: string,
        bytes: Uint8Array<ArrayBuffer>,
        options: object,
        init: object | undefined,
    ): Promise<void> {
        this.#start(source);
        const packed = readable(() => pack([options], false));
        const message = { type: 'restore', version: PROTOCOL_VERSION, name, bytes, options: packed.args[0], init };
        try {
            await this.#send('restore', message as ClientBody, packed, true, [bytes.buffer]);
        } finally {
            this.end();
        }
    }

    #start(source: WorkerSource | undefined): void {
        this.#channel = openChannel(source, this.#channelListener());
    }

    #channelListener(): Listener {
        return { message: (data) => this.#receive(data), death: (error) => this.#end(error) };
    }

    call(kind: RemoteKind, handle: number, method: string, args: unknown[], steps?: QueryStep[]): Promise<unknown> {
        try {
            const packed = packCall(method, args);
            return this.send(kind, handle, method, packed, steps === undefined ? undefined : packSteps(steps));
        } catch (error) {
            return Promise.reject(error as Error);
        }
    }

    /** A call whose arguments are packed. */
    send(
        kind: RemoteKind,
        handle: number,
        method: string,
        packed: Packed,
        steps?: readonly QueryStep[],
    ): Promise<unknown> {
        const body = { type: 'call', kind, handle, method, ...(steps === undefined ? {} : { steps }) };
        return this.#send(method, body as unknown as ClientBody, packed, false);
    }

    /** Gives up the session; calls still pending reject with the error. A worker that was started here ends, too. */
    kill(error: VeltaError): void {
        if (this.#ended !== undefined) return;
        this.#post({ type: 'end', id: this.#nextId() } as ClientBody);
        this.#end(error);
    }

    release(handle: number): void {
        if (this.#ended === undefined) this.#post({ type: 'release', handle } as ClientBody);
    }

    /** Gives up the session; calls still pending reject with CLOSED. */
    end(): void {
        this.kill(closed('the store'));
    }

    /** What is held here, for tests. */
    counts(): { readonly calls: number; readonly callbacks: number } {
        return { calls: this.#calls.size, callbacks: this.#callbacks.size };
    }

    #nextId(): number {
        return ++this.#lastId;
    }

    #post(body: ClientBody, transfer?: ArrayBuffer[]): void {
        this.#channel?.post({ ...body, velta: this.session } as ClientMessage, transfer);
    }

    #send(
        method: string,
        body: ClientBody,
        packed: Packed,
        opening: boolean,
        transfer?: ArrayBuffer[],
    ): Promise<unknown> {
        if (this.#ended !== undefined) return Promise.reject(this.#ended);
        const { signal } = packed;
        if (signal?.aborted === true) return Promise.reject(cancelled(method, signal));
        const id = this.#nextId();
        return new Promise((resolve, reject) => {
            const { args, extras } = packed;
            try {
                this.#post({ ...body, id, ...(opening ? {} : { args }), extras } as ClientBody, transfer);
            } catch (cause) {
                const text = cause instanceof Error ? cause.message : String(cause);
                reject(
                    new VeltaError('INVALID', `${method}: an argument cannot be sent to a worker: ${text}`, { cause }),
                );
                return;
            }
            if (packed.callback) this.#callbacks.set(id, packed.callback);
            const abort = (): void => this.#abort(id);
            signal?.addEventListener('abort', abort, { once: true });
            const stop = (): void => signal?.removeEventListener('abort', abort);
            this.#calls.set(id, { method, resolve, reject, packed, stop, aborted: false });
            this.#channel?.busy(true);
        });
    }

    #abort(id: number): void {
        const call = this.#calls.get(id);
        if (call === undefined) return;
        call.aborted = true;
        const { flag } = call.packed.extras;
        if (flag !== undefined) Atomics.store(flag, 0, 1);
        this.#post({ type: 'abort', id } as ClientBody);
        // A worker that never answers must not hold the caller; one that has opened the store is ended by open().
        if (call.method === 'open') this.#settle(id)?.reject(cancelled('open', call.packed.signal));
    }

    #settle(id: number): Call | undefined {
        const call = this.#calls.get(id);
        if (call === undefined) return undefined;
        call.stop();
        this.#calls.delete(id);
        if (this.#calls.size === 0) this.#channel?.busy(false);
        return call;
    }

    #receive(data: unknown): void {
        if (typeof data !== 'object' || data === null) return;
        const message = data as Record<string, unknown>;
        if (message['velta'] !== this.session) return;
        const id = message['id'] as number;
        switch (message['type']) {
            case 'result':
                this.#succeed(id, message['value'], message['at']);
                break;
            case 'handle':
                this.#succeed(id, new Reference(message['value'] as HandleValue), message['at']);
                break;
            case 'error':
                this.#callbacks.delete(id);
                this.#fail(id, VeltaError.fromJSON(message['error'] as VeltaErrorData), message['at']);
                break;
            case 'moved':
                this.#callbacks.delete(id);
                this.#settle(id)?.reject(new Moved(message['args']));
                break;
            case 'bye':
                this.#isLeft = true;
                this.#listener.onBye?.();
                break;
            case 'progress':
                this.#progress(id, message['done'] as number, message['total'] as number);
                break;
            case 'event':
                this.#tell(id, [...(message['value'] as unknown[]), ...failureOf(message['error'])], message['at']);
                break;
        }
    }

    #succeed(id: number, value: unknown, at: unknown): void {
        const call = this.#settle(id);
        if (call === undefined) return;
        const reached = this.#reach(at);
        const stop = (): void => {
            if (this.#callbacks.delete(id) && this.#ended === undefined) {
                this.#post({ type: 'unwatch', id } as ClientBody);
            }
        };
        const result = call.packed.callback === undefined ? value : stop;
        call.resolve(reached === undefined ? result : reached.then(() => result));
    }

    #fail(id: number, error: VeltaError, at: unknown): void {
        const call = this.#settle(id);
        const reached = this.#reach(at);
        if (reached === undefined) call?.reject(error);
        else void reached.then(() => call?.reject(error));
    }

    #tell(id: number, values: unknown[], at: unknown): void {
        const reached = this.#reach(at, true);
        if (reached === undefined) this.#callbacks.get(id)?.(...values);
        else void reached.then(() => this.#callbacks.get(id)?.(...values));
    }

    #reach(at: unknown, isEvent = false): Promise<void> | undefined {
        return at === undefined ? undefined : this.#listener.reach?.(at, isEvent);
    }

    #progress(id: number, done: number, total: number): void {
        const call = this.#calls.get(id);
        if (call?.packed.onProgress === undefined || call.aborted) return;
        try {
            if ((call.packed.onProgress(done, total) as unknown) === false) this.#abort(id);
        } catch (error) {
            this.#abort(id);
            this.#settle(id)?.reject(error);
        }
    }

    #end(error: VeltaError): void {
        if (this.#ended !== undefined) return;
        this.#ended = error;
        for (const id of [...this.#calls.keys()]) this.#settle(id)?.reject(error);
        this.#callbacks.clear();
        this.#channel?.close();
        this.#listener.onEnd?.(error);
    }
}

/** What a connection tells of itself. @internal */
export interface ConnectionListener {
    /** The tab that shares the store gives it up; calls that it has taken are still answered. */
    onBye?(): void;
    onEnd?(error: VeltaError): void;
    /** An answer or an event says where the store stood: until when it is kept back. */
    reach?(at: unknown, isEvent: boolean): Promise<void> | undefined;
}

/** A call that was not made, because the store has left the worker that it was sent to. @internal */
export class Moved extends Error {
    /** The arguments as they were sent: the caller may have changed its own since. */
    readonly args: unknown[] | undefined;

    constructor(args: unknown) {
        super('the store has left this worker');
        this.args = Array.isArray(args) ? args : undefined;
    }
}

/** The error that an event carries, as the last argument of the callback. */
function failureOf(error: unknown): [] | [VeltaError] {
    return error === undefined ? [] : [VeltaError.fromJSON(error as VeltaErrorData)];
}

function closed(what: string): VeltaError {
    return new VeltaError('CLOSED', `${what} was closed`);
}

function cancelled(method: string, signal: AbortSignal | undefined): VeltaError {
    return new VeltaError('CANCELLED', `${method} was cancelled`, { cause: signal?.reason as unknown });
}

function packed1(options: Record<string, unknown>): Packed {
    if (typeof options['now'] === 'function') {
        throw new VeltaError('UNSUPPORTED', "openWorker: a worker cannot ask the page for the time: leave 'now' out");
    }
    return readable(() => pack([options], false));
}

/** Getters and proxies among the arguments may throw anything. */
function readable<T>(read: () => T): T {
    try {
        return read();
    } catch (cause) {
        if (cause instanceof VeltaError) throw cause;
        const text = cause instanceof Error ? cause.message : String(cause);
        throw new VeltaError('INVALID', `an argument cannot be read: ${text}`, { cause });
    }
}

/** @internal */
export function packSteps(steps: QueryStep[]): QueryStep[] {
    return readable(() => steps.map((step) => pack(step, false).args as unknown as QueryStep));
}

/** A result that lives in the worker. @internal */
export class Reference {
    readonly value: HandleValue;

    constructor(value: HandleValue) {
        this.value = value;
    }
}

/** What stands for an object of the worker. Its methods are those that METHODS lists for its kind. */
class RemoteObject {
    protected readonly connection: Line;
    readonly #kind: RemoteKind;
    readonly #handle: number;

    constructor(connection: Line, { kind, handle, fields }: HandleValue) {
        this.connection = connection;
        this.#kind = kind;
        this.#handle = handle;
        for (const [name, value] of Object.entries(fields)) {
            Object.defineProperty(this, name, { value, enumerable: true });
        }
        forgotten.register(this, { connection, handle }, this);
    }

    /** Calls a method, or one of a query that is made of this table by steps. @internal */
    async send(method: string, args: unknown[], steps?: QueryStep[]): Promise<unknown> {
        const kind = steps === undefined ? this.#kind : 'Query';
        const result = await this.connection.call(kind, this.#handle, method, args, steps);
        return result instanceof Reference ? this.wrap(result.value) : result;
    }

    protected wrap(value: HandleValue): RemoteObject {
        switch (value.kind) {
            case 'RowIterator':
            case 'FamilyIterator':
                return new RemoteIteratorObject(this.connection, value);
            case 'Database':
                return new RemoteDatabaseObject(this.connection, value);
            case 'ColumnFamily':
                return new RemoteFamilyObject(this.connection, value, this);
            default:
                return new RemoteTableObject(this.connection, value, this);
        }
    }

    /** The handle was given back. */
    protected forget(): void {
        forgotten.unregister(this);
    }
}

/** A store: closing it ends the session, and with it a worker that was started for it. */
class RemoteRoot extends RemoteObject {
    #closing: Promise<void> | undefined;

    get closed(): boolean {
        return this.#closing !== undefined;
    }

    close(): Promise<void> {
        return (this.#closing ??= this.#close());
    }

    [asyncDispose](): Promise<void> {
        return this.close();
    }

    async #close(): Promise<void> {
        this.forget();
        try {
            await this.send('close', []);
        } catch (error) {
            // A store that died is as closed as it will be; what was pending has been told.
            if (!(error instanceof VeltaError && (error.code === 'WORKER' || error.code === 'CLOSED'))) throw error;
        } finally {
            this.connection.end();
        }
    }
}

/** @internal */
export class RemoteDatabaseObject extends RemoteRoot {
    get log(): Record<string, () => Promise<unknown>> {
        const part = (name: string) => (): Promise<unknown> => this.send(`log.${name}`, []);
        return { sync: part('sync'), checkpoint: part('checkpoint'), status: part('status') };
    }
}

/** A table or a column family. */
class RemotePart extends RemoteObject {
    readonly database: RemoteObject;

    constructor(connection: Line, value: HandleValue, database: RemoteObject) {
        super(connection, value);
        this.database = database;
    }
}

class RemoteTableObject extends RemotePart {
    where(filter: unknown): RemoteQueryObject {
        return new RemoteQueryObject(this, [['where', filter]]);
    }

    all(): RemoteQueryObject {
        return new RemoteQueryObject(this, [['all']]);
    }
}

class RemoteFamilyObject extends RemotePart {}

class RemoteDeltaVectorObject extends RemoteRoot {}

class RemoteColumnStoreObject extends RemoteRoot {}

/** A query: made here, step by step, and sent whole with the method that asks for its answer. */
class RemoteQueryObject {
    readonly #table: RemoteTableObject;
    readonly #steps: QueryStep[];

    constructor(table: RemoteTableObject, steps: QueryStep[]) {
        this.#table = table;
        this.#steps = steps;
    }

    send(method: string, args: unknown[]): Promise<unknown> {
        return this.#table.send(method, args, this.#steps);
    }

    step(name: QueryStep[0], args: unknown[]): RemoteQueryObject {
        return new RemoteQueryObject(this.#table, [...this.#steps, [name, ...args]]);
    }

    async *[Symbol.asyncIterator](): AsyncGenerator<unknown> {
        yield* (await this.send('toArray', [])) as unknown[];
    }
}

const AHEAD = 128;

/** An iterator: asks for the next batch while the present one is used. */
class RemoteIteratorObject extends RemoteObject {
    #rows: unknown[] = [];
    #place = 0;
    #done = false;
    #closed = false;
    #ahead: Promise<unknown[]> | undefined;
    /** Calls wait for those before. */
    #last: Promise<unknown> = Promise.resolve();

    nextBatch(count: unknown = 100): Promise<unknown[]> {
        return this.#inTurn(async () => {
            if (!Number.isSafeInteger(count) || (count as number) < 1) return this.#ask(count);
            return this.#take(count as number);
        });
    }

    next(): Promise<IteratorResult<unknown, undefined>> {
        return this.#inTurn(async () => {
            if (this.#place === this.#rows.length) await this.#fill(AHEAD);
            if (this.#place === this.#rows.length) return { done: true, value: undefined };
            return { done: false, value: this.#rows[this.#place++] };
        });
    }

    collectAll(): Promise<unknown[]> {
        return this.#inTurn(async () => {
            const all: unknown[] = [];
            for (let batch = await this.#take(8 * AHEAD); batch.length > 0; batch = await this.#take(8 * AHEAD)) {
                for (const row of batch) all.push(row);
            }
            await this.#close();
            return all;
        });
    }

    close(): Promise<void> {
        return this.#inTurn(() => this.#close());
    }

    async return(): Promise<IteratorResult<unknown, undefined>> {
        await this.close();
        return { done: true, value: undefined };
    }

    [Symbol.asyncIterator](): this {
        return this;
    }

    [asyncDispose](): Promise<void> {
        return this.close();
    }

    #inTurn<T>(work: () => Promise<T>): Promise<T> {
        const result = this.#last.then(work);
        this.#last = result.catch(() => undefined);
        return result;
    }

    #ask(count: unknown): Promise<unknown[]> {
        return this.send('nextBatch', [count]) as Promise<unknown[]>;
    }

    async #take(count: number): Promise<unknown[]> {
        while (!this.#done && this.#rows.length - this.#place < count) {
            await this.#fill(count - (this.#rows.length - this.#place));
        }
        const rows = this.#rows.slice(this.#place, this.#place + count);
        this.#place += rows.length;
        return rows;
    }

    /** Adds a batch, and asks for the one after it. */
    async #fill(count: number): Promise<void> {
        if (this.#done) return;
        const asked = this.#ahead ?? this.#ask(count);
        this.#ahead = undefined;
        const batch = await asked;
        this.#rows = this.#place === this.#rows.length ? batch : [...this.#rows.slice(this.#place), ...batch];
        this.#place = 0;
        if (batch.length === 0) {
            await this.#letGo();
            return;
        }
        this.#ahead = this.#ask(Math.max(count, batch.length));
        this.#ahead.catch(() => undefined);
    }

    #close(): Promise<void> {
        this.#rows = [];
        this.#place = 0;
        return this.#letGo();
    }

    /** There is no more to ask for: what is here may still be taken. */
    async #letGo(): Promise<void> {
        this.#done = true;
        this.#ahead = undefined;
        if (this.#closed) return;
        this.#closed = true;
        this.forget();
        await this.send('close', []);
    }
}

type Sender = { send(method: string, args: unknown[]): Promise<unknown> };

/** Gives a class the methods and properties of its kind that it has not got by itself. */
function define(prototype: Sender, kind: RemoteKind): void {
    for (const method of METHODS[kind]) {
        if (method.includes('.') || method in prototype) continue;
        const value = function (this: Sender, ...args: unknown[]): Promise<unknown> {
            return this.send(method, args);
        };
        Object.defineProperty(prototype, method, { value, configurable: true, writable: true });
    }
    for (const property of PROPERTIES[kind]) {
        const get = function (this: Sender): Promise<unknown> {
            return this.send(`get ${property}`, []);
        };
        Object.defineProperty(prototype, property, { get, configurable: true });
    }
}

let defined = false;

/** Gives the classes their methods, once. @internal */
export function defineAll(): void {
    if (defined) return;
    defined = true;
    define(RemoteDatabaseObject.prototype, 'Database');
    define(RemoteTableObject.prototype, 'Table');
    define(RemoteFamilyObject.prototype, 'ColumnFamily');
    define(RemoteIteratorObject.prototype, 'RowIterator');
    define(RemoteDeltaVectorObject.prototype, 'DeltaVectorDB');
    define(RemoteColumnStoreObject.prototype, 'ColumnStore');
    define(RemoteQueryObject.prototype, 'Query');
    for (const step of QUERY_STEPS) {
        const value = function (this: RemoteQueryObject, ...args: unknown[]): RemoteQueryObject {
            return this.step(step, args);
        };
        if (step !== 'where' && step !== 'all') Object.defineProperty(RemoteQueryObject.prototype, step, { value });
    }
}

/** Options that say where and how the worker runs, beside those of the store. */
export interface WorkerOptions {
    /** How the module is loaded in the worker; a URL is relative to this page. */
    readonly init?: InitOptions;
    /**
     * A running worker, which may serve several stores and is not ended with them, or the script to start one from. The
     * script must import `velta/worker`.
     * @defaultValue the package's own worker.js, one for each store
     */
    readonly worker?: WorkerSource;
}

/**
 * Opens the database `name` in a worker: what {@link open} gives, all of it asynchronous. A page stays responsive
 * whatever the database does, and has OPFS, which only workers may use.
 *
 * Calls take effect in the order in which they are made, and need not be awaited one by one. With strict durability a
 * writing call resolves when the change is durable; calls under way together are made durable together.
 *
 * @throws {VeltaError} WORKER when the worker cannot start; otherwise as `open` and `init` do
 */
export async function openWorker(
    name: string,
    options: Omit<OpenOptions, 'now'> & WorkerOptions = {},
): Promise<RemoteDatabase> {
    return new RemoteDatabaseObject(...(await connect('Database', name, options))) as unknown as RemoteDatabase;
}

/** Opens a {@link DeltaVectorDB} in a worker; everything as with {@link openWorker}. */
export async function openDeltaVectorWorker(
    name: string,
    options: Omit<DeltaVectorDBOpenOptions, 'now'> & WorkerOptions = {},
): Promise<RemoteDeltaVectorDB> {
    const [connection, value] = await connect('DeltaVectorDB', name, options);
    return new RemoteDeltaVectorObject(connection, value) as unknown as RemoteDeltaVectorDB;
}

/** Opens a {@link ColumnStore} in a worker; everything as with {@link openWorker}. */
export async function openColumnStoreWorker(
    name: string,
    options: Omit<ColumnStoreOpenOptions, 'now'> & WorkerOptions = {},
): Promise<RemoteColumnStore> {
    const [connection, value] = await connect('ColumnStore', name, options);
    return new RemoteColumnStoreObject(connection, value) as unknown as RemoteColumnStore;
}

async function connect(root: RootKind, name: string, all: object & WorkerOptions): Promise<[Connection, HandleValue]> {
    if (typeof name !== 'string') throw invalid(`openWorker: the name must be a string, not ${describe(name)}`);
    if (typeof all !== 'object' || (all as unknown) === null) {
        throw invalid(`openWorker: options must be an object, not ${describe(all)}`);
    }
    defineAll();
    const { init, worker, ...options } = all;
    const connection = new Connection();
    return [connection, await connection.open(worker, root, name, options, await portable(init))];
}

/**
 * What init() is to be told in the worker: things that can be cloned, addresses that mean the same there.
 * @internal
 */
export async function portable(init: InitOptions | undefined): Promise<object | undefined> {
    const own = wasmSource(wasmBuilds[0] as WasmBuild);
    if (init?.wasm === undefined) return own instanceof URL ? init : { ...init, wasm: own };
    try {
        let wasm: unknown = await init.wasm;
        if (typeof Response === 'function' && wasm instanceof Response) wasm = await wasm.arrayBuffer();
        if (wasm instanceof URL) wasm = wasm.href;
        if (typeof wasm === 'string' && typeof document === 'object') wasm = new URL(wasm, document.baseURI).href;
        return { ...init, wasm };
    } catch (cause) {
        if (cause instanceof VeltaError) throw cause;
        const text = cause instanceof Error ? cause.message : String(cause);
        throw new VeltaError('BAD_MODULE', `init: what was given as wasm cannot be had: ${text}`, { cause });
    }
}
