/*
 * The server: holds the stores of a worker's sessions and answers their messages (protocol.ts has the rules).
 *
 * Nothing in a message is trusted: its form is checked, handles are looked up in the session's own table, and only the
 * listed methods of the class that a handle was given out for are called. Errors cross as code, sentence and offset.
 *
 * A call's synchronous part runs within its message, so calls take effect in the order in which they were sent. The
 * answer of a writing call on a strict store waits until the storage has made it durable; calls that come meanwhile
 * run, and their answers wait for the same commit.
 */
import { ColumnFamily, FamilyIterator } from '../column_family.js';
import { ColumnStore } from '../column_store.js';
import { Database, importDatabase } from '../database.js';
import { DeltaVectorDB } from '../delta_vector_db.js';
import { VeltaError, type VeltaErrorData } from '../errors.js';
import { RowIterator } from '../iterator.js';
import { init, type InitOptions, moduleInfo } from '../module.js';
import { open, openShareable, restoreOwn } from '../storage/open.js';
import { Table } from '../table.js';
import { Hub } from '../tabs/hub.js';
import { type Position, Replication } from '../tabs/replication.js';
import {
    type AttachMessage,
    type CallMessage,
    type ClientMessage,
    endsObject,
    type Extras,
    type HandleValue,
    isRemoteMethod,
    type OpenMessage,
    PROTOCOL_VERSION,
    readClientMessage,
    type RestoreMessage,
    type RemoteKind,
    ROOTS,
    type ServerMessage,
    sessionLock,
    type ShareValue,
    WRITING,
} from './protocol.js';

/** The worker's side of the channel. */
export interface ServerPort {
    post(message: ServerMessage, transfer: ArrayBuffer[]): void;
}

interface Held {
    readonly kind: RemoteKind;
    readonly object: object;
}

/** Progress is told at most so often, and at its end. */
const PROGRESS_MS = 16;
/** Arrays from this size on are handed over instead of copied. */
const TRANSFER_BYTES = 1024;

type Method = (this: object, ...args: unknown[]) => unknown;

/** @internal */
export class Session {
    readonly #number: number;
    readonly #port: ServerPort;
    readonly #objects = new Map<number, Held>();
    readonly #running = new Map<number, AbortController>();
    readonly #watches = new Map<number, () => void>();
    #lastHandle = 0;
    #strict = true;
    #root: Root | undefined;
    /** The store was opened by this session, which closes it. */
    #isOwner = true;
    #hub: Hub | undefined;
    /** What tells copies of changes, and whether this session's tab has one. */
    #publisher: Hub | undefined;
    #follows = false;
    #unlock: (() => void) | undefined;
    #ended = false;

    constructor(number: number, port: ServerPort) {
        this.#number = number;
        this.#port = port;
    }

    async open(message: OpenMessage): Promise<void> {
        const { id, root, name } = message;
        try {
            checkVersion(message.version);
            if (!(ROOTS as readonly unknown[]).includes(root)) {
                throw new VeltaError('INVALID', `a worker cannot open a '${String(root)}'`);
            }
            await this.#lock();
            if (message.init !== undefined) await initOnce(message.init);
            const [options] = this.#decode(id, [message.options], message.extras);
            const { snapshot, share } = message;
            const opened =
                snapshot === undefined
                    ? await openRoot(root, name, options as object, share !== undefined)
                    : await openCopy(snapshot, options as object);
            if (this.#ended) {
                await opened.close();
                return;
            }
            this.#root = opened;
            if (share !== undefined) this.#share(share, opened);
            this.#strict = (options as { durability?: unknown }).durability !== 'relaxed';
            this.#post({ velta: this.#number, type: 'handle', id, value: this.#refer(opened) });
        } catch (error) {
            this.#fail(id, error);
        } finally {
            this.#running.delete(id);
            if (this.#ended) this.#unlock?.();
        }
    }

    /** Other tabs join from now on. */
    #share(share: ShareValue, root: Root): void {
        const hub = new Hub(share, new Replication(databaseOf(root) as Database), (number, port) => {
            const session = new Session(number, port);
            session.#root = root;
            session.#isOwner = false;
            session.#strict = this.#strict;
            session.#publisher = hub;
            return session;
        });
        this.#hub = hub;
        this.#publisher = hub;
    }

    /** Joins a store that another session has opened. */
    attach({ id, version, follows }: AttachMessage): void {
        try {
            checkVersion(version);
            this.#follows = follows === true;
            this.#post({ velta: this.#number, type: 'handle', id, value: this.#refer(this.#root as Root) });
        } catch (error) {
            this.#fail(id, error);
        }
    }

    /** Restores a database: all that this session does. */
    async restore({ id, version, name, bytes, options, init: start }: RestoreMessage): Promise<void> {
        try {
            checkVersion(version);
            if (start !== undefined && !isReady()) await init(start);
            await restoreOwn(name, bytes, options);
            this.#answer(id, undefined);
        } catch (error) {
            this.#fail(id, error);
        }
    }

    async call(message: CallMessage): Promise<void> {
        const { id, kind, method } = message;
        const isWriting = WRITING.has(`${kind}.${method}`);
        try {
            if (kind === 'Database' && method === 'close') await this.#hub?.retire(); /* not with an iterator */
            let result = this.#invoke(message);
            if (result instanceof Promise) result = await result;
            if (isWriting) await this.#commit();
            this.#answer(id, result, kind !== 'Log');
        } catch (error) {
            if (isWriting) await this.#commit().catch(() => undefined); /* what it did before it failed stays */
            this.#fail(id, error, kind !== 'Log');
        } finally {
            this.#running.delete(id);
        }
    }

    /** Waits until a change is durable, if it is to be, and tells the copies of it. */
    async #commit(): Promise<void> {
        if (this.#strict) await databaseOf(this.#root)?.durable();
        this.#publisher?.publish();
    }

    /** A message of the session, after the one that began it. */
    receive(message: ClientMessage): void {
        switch (message.type) {
            case 'call':
                void this.call(message);
                break;
            case 'abort':
                this.abort(message.id);
                break;
            case 'unwatch':
                this.unwatch(message.id);
                break;
            case 'release':
                this.release(message.handle);
                break;
            case 'end':
                this.end().catch(() => undefined);
                break;
        }
    }

    abort(id: number): void {
        this.#running.get(id)?.abort();
    }

    unwatch(id: number): void {
        this.#watches.get(id)?.();
        this.#watches.delete(id);
    }

    release(handle: number): void {
        const held = this.#objects.get(handle);
        this.#objects.delete(handle);
        if (held?.object instanceof RowIterator || held?.object instanceof FamilyIterator) held.object.close();
    }

    async end(): Promise<void> {
        this.#ended = true;
        for (const controller of this.#running.values()) controller.abort();
        for (const id of [...this.#watches.keys()]) this.unwatch(id);
        for (const handle of [...this.#objects.keys()]) this.release(handle);
        try {
            this.#hub?.close();
            if (this.#isOwner) await this.#root?.close();
        } finally {
            this.#unlock?.();
        }
    }

    /** What is held for the client, for tests. */
    counts(): Record<string, number> {
        return { objects: this.#objects.size, running: this.#running.size, watches: this.#watches.size };
    }

    /** Takes the lock by which the client notices the worker's end; without locks there is nothing to take. */
    #lock(): Promise<void> {
        const locks = (globalThis.navigator as Partial<Navigator> | undefined)?.locks;
        if (locks === undefined) return Promise.resolve();
        return new Promise((resolve) => {
            const hold = (): Promise<void> => {
                resolve();
                return new Promise((release) => (this.#unlock = release));
            };
            locks.request(sessionLock(this.#number), hold).catch(() => resolve());
        });
    }

    #invoke(message: CallMessage): unknown {
        const { id, kind, method, handle } = message;
        const held = this.#objects.get(handle);
        if (held === undefined) throw new VeltaError('CLOSED', `${kind}.${method}: the object was closed`);
        if ((PARTS[kind] ?? kind) !== held.kind || !isRemoteMethod(kind, method)) {
            throw new VeltaError('INVALID', `a worker has no method ${kind}.${method}`);
        }
        if (method === 'close' && held.object === this.#root && !this.#isOwner) return undefined;
        const args = this.#decode(id, message.args, message.extras);
        const target = targetOf(held.object, message);
        if (endsObject(kind, method)) this.#objects.delete(handle);
        return callNamed(target, method, args);
    }

    /** Puts back what could not be cloned, as functions and a signal of this side. */
    #decode(id: number, args: readonly unknown[], extras: Extras): unknown[] {
        const decoded = args.slice();
        const { flag, progress, signal, callback } = extras;
        if (callback !== undefined) {
            decoded[callback] = (...value: unknown[]) => {
                const last = value.at(-1);
                const error = last instanceof VeltaError ? { error: errorValue(value.pop()) } : {};
                const tell = (): void =>
                    this.#post({ velta: this.#number, type: 'event', id, value, ...error, ...this.#at(true) });
                /* Changes are told within the engine's call, which does not say where it stands until it is over. */
                if (this.#follows) queueMicrotask(tell);
                else tell();
            };
        }
        const options = progress ?? signal;
        if (options === undefined) return decoded;
        const controller = new AbortController();
        this.#running.set(id, controller);
        const aborted = (): boolean => {
            if (flag !== undefined && Atomics.load(flag, 0) !== 0) controller.abort();
            return controller.signal.aborted;
        };
        decoded[options] = {
            ...(decoded[options] as object),
            ...(signal === undefined ? {} : { signal: controller.signal }),
            onProgress: this.#progress(id, progress !== undefined, aborted),
        };
        return decoded;
    }

    #progress(id: number, told: boolean, aborted: () => boolean): (done: number, total: number) => boolean {
        let last = 0;
        return (done, total) => {
            const now = performance.now();
            if (told && (now - last >= PROGRESS_MS || done === total)) {
                last = now;
                this.#post({ velta: this.#number, type: 'progress', id, done, total });
            }
            return !aborted();
        };
    }

    #answer(id: number, result: unknown, isOfStore = false): void {
        const velta = this.#number;
        const at = this.#at(isOfStore);
        if (typeof result === 'function') {
            this.#watches.set(id, result as () => void);
            this.#post({ velta, type: 'result', id, value: undefined, ...at });
        } else if (kindOf(result) !== undefined) {
            this.#post({ velta, type: 'handle', id, value: this.#refer(result as object), ...at });
        } else {
            this.#port.post({ velta, type: 'result', id, value: result, ...at }, transferable(result));
        }
    }

    /** Where the store stands, for a tab that has a copy of it. */
    #at(isOfStore: boolean): { readonly at?: Position } {
        const position = this.#follows && isOfStore ? this.#publisher?.position() : undefined;
        return position === undefined ? {} : { at: position };
    }

    #refer(object: object): HandleValue {
        const kind = kindOf(object) as RemoteKind;
        const handle = ++this.#lastHandle;
        this.#objects.set(handle, { kind, object });
        return { handle, kind, fields: fieldsOf(object) };
    }

    #post(message: ServerMessage): void {
        if (!this.#ended) this.#port.post(message, []);
    }

    #fail(id: number, error: unknown, isOfStore = false): void {
        this.#post({ velta: this.#number, type: 'error', id, error: errorValue(error), ...this.#at(isOfStore) });
    }
}

function checkVersion(version: number): void {
    if (version !== PROTOCOL_VERSION) {
        throw new VeltaError('WORKER', 'the worker script is of another version of velta than the page');
    }
}

function errorValue(error: unknown): VeltaErrorData {
    if (error instanceof VeltaError) return error.toJSON();
    const text = error instanceof Error ? error.message : String(error);
    return { code: 'WORKER', message: `the worker failed: ${text}` };
}

/** A module that was handed over is not looked at where one runs already: bytes cannot be told to be the same. */
async function initOnce(options: InitOptions): Promise<void> {
    const runs = isReady();
    const only = Object.keys(options).every((name) => name === 'wasm');
    if (!(runs && only && typeof options.wasm === 'object')) await init(options);
}

function isReady(): boolean {
    try {
        return moduleInfo().version !== '';
    } catch {
        return false;
    }
}

type Root = Database | DeltaVectorDB | ColumnStore;

function databaseOf(root: Root | undefined): Database | undefined {
    return root === undefined || root instanceof Database ? root : root.database;
}

/** A database in memory that is to follow the one of which it is a copy. */
async function openCopy(snapshot: Uint8Array, options: object): Promise<Root> {
    await init();
    return importDatabase(snapshot, options);
}

function openRoot(root: string, name: string, options: object, isShared: boolean): Promise<Root> {
    switch (root) {
        case 'DeltaVectorDB':
            return DeltaVectorDB.open(name, options);
        case 'ColumnStore':
            return ColumnStore.open(name, options);
        default:
            return isShared ? openShareable(name, options) : open(name, options);
    }
}

/** What does not change of an object is kept by the client. */
function fieldsOf(object: object): Record<string, unknown> {
    if (object instanceof Database) return { name: object.name, storage: object.storage };
    if (object instanceof Table) return { name: object.name, keyColumn: object.keyColumn };
    if (object instanceof ColumnFamily) return { name: object.name, keys: object.keys as unknown };
    return {};
}

function kindOf(object: unknown): RemoteKind | undefined {
    if (object instanceof Table) return 'Table';
    if (object instanceof RowIterator) return 'RowIterator';
    if (object instanceof ColumnFamily) return 'ColumnFamily';
    if (object instanceof FamilyIterator) return 'FamilyIterator';
    if (object instanceof Database) return 'Database';
    if (object instanceof DeltaVectorDB) return 'DeltaVectorDB';
    if (object instanceof ColumnStore) return 'ColumnStore';
    return undefined;
}

/** The listed methods only come here: `name`, `part.name` or `get name`. */
function callNamed(target: object, method: string, args: unknown[]): unknown {
    if (method.startsWith('get ')) return (target as Record<string, unknown>)[method.slice(4)];
    const dot = method.indexOf('.');
    const owner = dot < 0 ? target : ((target as Record<string, unknown>)[method.slice(0, dot)] as object);
    return Reflect.apply((owner as Record<string, Method>)[method.slice(dot + 1)] as Method, owner, args);
}

/** Kinds of methods that belong to an object of another kind. */
const PARTS: Partial<Record<RemoteKind, RemoteKind>> = { Query: 'Table', Log: 'Database' };

function targetOf(object: object, message: CallMessage): object {
    if (message.kind === 'Query') return queryOf(object, message);
    return message.kind === 'Log' ? new Replication(object as Database) : object;
}

function queryOf(table: object, message: CallMessage): object {
    if (message.steps === undefined) throw new VeltaError('INVALID', 'a query without steps');
    let query = table;
    for (const [name, ...args] of message.steps) query = callNamed(query, name, args) as object;
    return query;
}

/** The memory of large arrays that nobody here keeps: a result, or the members of one. */
function transferable(result: unknown): ArrayBuffer[] {
    if (typeof result !== 'object' || result === null) return [];
    const candidates: unknown[] = ArrayBuffer.isView(result)
        ? [result]
        : Array.isArray(result)
          ? []
          : Object.values(result);
    const buffers = new Set<ArrayBuffer>();
    for (const candidate of candidates) {
        if (!ArrayBuffer.isView(candidate) || candidate.byteLength < TRANSFER_BYTES) continue;
        const { buffer } = candidate;
        if (buffer instanceof ArrayBuffer && buffer.byteLength === candidate.byteLength) buffers.add(buffer);
    }
    return [...buffers];
}

/** Answers the messages of one worker. Gives the function to call with each message's data. @internal */
export function serve(port: ServerPort): (data: unknown) => void {
    const sessions = new Map<number, Session>();
    return (data) => {
        const message = readClientMessage(data);
        if (message === undefined) return;
        const session = sessions.get(message.velta);
        if (session !== undefined) {
            if (message.type === 'end') sessions.delete(message.velta);
            session.receive(message);
        } else if (message.type === 'open') {
            const opened = new Session(message.velta, port);
            sessions.set(message.velta, opened);
            void opened.open(message);
        } else if (message.type === 'restore') {
            void new Session(message.velta, port).restore(message);
        }
    };
}
