/*
 * One store for all tabs of an origin: the tab that gets the Web Lock of the store has it open in its worker, the
 * others are connected to that worker (hub.ts), and when it goes, however it does, the lock goes to the next.
 *
 * Every tab queues for the lock as long as it has the store open, so that there is always a next one. A tab that is
 * frozen could neither serve nor lead: it gives up both at that moment, as if it had been killed, and queues anew when
 * it is resumed. Nothing is decided by the silence of a tab, which may be at long work; locks are never stolen.
 */
import { checkOptions, invalid, VeltaError } from '../errors.js';
import type { OpenOptions } from '../storage/open.js';
import { isOpfsSupported } from '../storage/open.js';
import { throwIfAborted } from '../storage/locks.js';
import { checkName } from '../storage/names.js';
import type { Channel, Listener } from '../worker/channel.js';
import { death } from '../worker/channel.js';
import { Connection, defineAll, portable, RemoteDatabaseObject, type WorkerOptions } from '../worker/client.js';
import { type ClientMessage, type HandleValue, tabLock } from '../worker/protocol.js';
import type { RemoteDatabase } from '../worker/remote.js';
import { tabChannelName, termLock } from './hub.js';
import { SharedLine } from './line.js';
import { Replica, ReplicaLine } from './replica.js';

/** How a store that tabs share is opened. The options of storage count in the tab that has it at the time. */
export interface SharedOptions
    extends Omit<OpenOptions, 'now' | 'storage' | 'readOnly' | 'lockTimeout'>, WorkerOptions {
    /** The same in all tabs. Default: `opfs` where there is OPFS, else `indexeddb`. */
    readonly storage?: 'opfs' | 'indexeddb';
    /**
     * Whether this tab has a copy of the store in memory, which follows every change and answers its reads: they then
     * cost the other tabs nothing, and go on while the store changes hands. Default false.
     */
    readonly replica?: boolean;
}

/** A database that all tabs of an origin write and read as one. Made by {@link openShared}. */
export interface SharedDatabase extends RemoteDatabase {
    /** Whether the store is in this tab's worker. */
    readonly isLeader: boolean;
    /**
     * Whether reads are answered by this tab's own copy: with the option `replica`, except while the store itself is
     * here, or no copy can be had.
     */
    readonly isReplica: boolean;
    /**
     * Calls back when the store is reached through another worker than before: what {@link Table.watch} would have told
     * in between is not told later.
     * @returns a function that ends it
     */
    onLeaderChange(callback: (isLeader: boolean) => void): () => void;
}

/** A tab that failed to open the store lets the next try, and queues again after so long. */
const AGAIN_MS = 250;
/** Milliseconds that the store's own lock may outlive a tab that was killed, on a busy machine. */
const LOCK_MS = 10_000;

interface Place {
    readonly channel: string;
    readonly storage: 'opfs' | 'indexeddb';
}

interface Opening {
    resolve(value: HandleValue): void;
    reject(error: unknown): void;
}

/** This tab's part in one shared store. */
class Member {
    readonly line: SharedLine;
    readonly listeners = new Set<(isLeader: boolean) => void>();
    isLeader = false;
    readonly replica: Replica | undefined;
    readonly #name: string;
    readonly #place: Place;
    readonly #options: SharedOptions;
    readonly #channel: BroadcastChannel;
    readonly #left = new AbortController();
    #opening: Opening | undefined;
    /** What a worker that is started here is told: had once, as a Response can be read once. */
    readonly #init: Promise<object | undefined>;
    /** Until this tab queues again. */
    #pause: ReturnType<typeof setTimeout> | undefined;
    /** Ends the wait for the lock, or gives it back. */
    #yield: (() => void) | undefined;
    #term = '';
    /** Its worker did not let this tab join. */
    #refusedTerm = '';
    /** From getting the lock to giving it back. */
    #isLeading = false;
    #connection: Connection | undefined;
    /** The database's handle in it. */
    #database = 0;
    #isFrozen = false;

    constructor(name: string, place: Place, options: SharedOptions, init: Promise<object | undefined>) {
        this.#init = init;
        this.#name = name;
        this.#place = place;
        this.#options = options;
        this.line = new SharedLine(() => this.leave());
        this.replica = replicaOf(place, options, init);
        this.#channel = new BroadcastChannel(place.channel);
        this.#channel.onmessage = ({ data }) => this.#hear(data);
        this.#followLife();
    }

    /** Resolves with the database when there is a connection to it. */
    open(): Promise<HandleValue> {
        return new Promise((resolve, reject) => {
            this.#opening = { resolve, reject };
            const { signal } = this.#options;
            const abort = (): void => this.#refuse(cancelled(signal));
            signal?.addEventListener('abort', abort, { once: true, signal: this.#left.signal });
            this.#begin();
        });
    }

    #begin(): void {
        if (this.#left.signal.aborted || this.#isFrozen) return;
        this.#queue();
        this.#channel.postMessage({ type: 'who' });
    }

    /* ---- leading */

    #queue(): void {
        const waiting = new AbortController();
        this.#yield = () => waiting.abort();
        const lead = (): Promise<void> =>
            new Promise((resolve) => {
                this.#yield = resolve;
                if (waiting.signal.aborted) resolve();
                else void this.#lead(resolve);
            });
        navigator.locks.request(this.#place.channel, { signal: waiting.signal }, lead).catch((error: unknown) => {
            if (waiting.signal.aborted) return;
            this.#refuse(new VeltaError('UNSUPPORTED', 'this page may not use Web Locks', { cause: error }));
        });
    }

    async #lead(release: () => void): Promise<void> {
        const { worker, init: _, signal: __, replica: ___, ...options } = this.#options;
        const term = crypto.randomUUID();
        this.#term = term;
        this.#isLeading = true;
        this.#drop(death('this tab has the store now'));
        const connection = this.#connect(true, () => {
            this.#isLeading = false;
            release();
        });
        try {
            const { channel, storage } = this.#place;
            const given = { ...options, storage, lockTimeout: LOCK_MS } as Record<string, unknown>;
            const share = { channel, term };
            const database = await connection.open(worker, 'Database', this.#name, given, await this.#init, share);
            await this.#arrive(connection, database, true);
        } catch (error) {
            connection.kill(error as VeltaError); /* where that has not happened: gives the lock back */
            if (this.#isFrozen || this.#left.signal.aborted) return;
            if (this.#opening !== undefined) {
                this.#refuse(error);
                return;
            }
            this.line.fail(error);
        }
    }

    /** A connection that, when it ends, is followed by another. */
    #connect(isLeader: boolean, release: () => void): Connection {
        const connection: Connection = new Connection({
            onBye: () => this.#say(connection),
            reach: (at, isEvent) => this.replica?.reach(at, isEvent),
            onEnd: () => {
                release();
                this.replica?.depart(connection);
                if (this.#connection !== connection) return;
                this.#connection = undefined;
                this.line.pause();
                this.isLeader = false;
                if (isLeader) this.#pause = setTimeout(() => this.#begin(), AGAIN_MS);
                else this.#channel.postMessage({ type: 'who' });
            },
        });
        this.#connection = connection;
        return connection;
    }

    /* ---- following */

    #hear(data: unknown): void {
        const { type, term } = (data ?? {}) as Record<string, unknown>;
        if (type !== 'leader' || typeof term !== 'string' || this.#isFrozen || this.#left.signal.aborted) return;
        if (term === this.#term && this.#connection !== undefined) return;
        if (this.#isLeading || term === this.#refusedTerm) return;
        this.#term = term;
        void this.#join(term);
    }

    async #join(term: string): Promise<void> {
        this.#drop(death('the tab that had the store is gone'));
        let release = (): void => undefined;
        const connection = this.#connect(false, () => release());
        const held = new Promise<void>((resolve) => {
            const hold = (): Promise<void> => {
                resolve();
                return new Promise((end) => (release = end));
            };
            navigator.locks.request(tabLock(connection.session), hold).catch(() => undefined);
        });
        try {
            await held;
            if (this.#connection !== connection) {
                release();
                return;
            }
            const open = (listener: Listener): Channel => this.#channelOf(connection.session, term, listener);
            const database = await connection.join(open, term, this.replica !== undefined);
            await this.#arrive(connection, database, false);
        } catch (error) {
            if (connection.ended !== undefined) return; /* its end was noticed: the next worker will tell of itself */
            this.#refusedTerm = term;
            connection.kill(error as VeltaError);
            if (this.#opening !== undefined) this.#refuse(error);
            else this.line.refuse(error as VeltaError);
        }
    }

    /** The channel to a worker of another tab. */
    #channelOf(session: number, term: string, listener: Listener): Channel {
        const own = new BroadcastChannel(tabChannelName(this.#place.channel, session));
        const ended = new AbortController();
        own.onmessage = ({ data }) => listener.message(data);
        own.onmessageerror = () => listener.death(death('a message of the worker could not be read'));
        return {
            post: (message: ClientMessage) =>
                (message.type === 'attach' ? this.#channel : own).postMessage(plain(message)),
            busy: () => undefined,
            guard: () => {
                const gone = (): void => listener.death(death('the tab that had the store is gone'));
                const request = { mode: 'shared', signal: ended.signal } as const;
                navigator.locks.request(termLock(this.#place.channel, term), request, gone).catch(() => undefined);
            },
            close: () => {
                ended.abort();
                own.close();
            },
        };
    }

    /** The tab that has the store gives it up: leaves it when all is answered. */
    #say(connection: Connection): void {
        if (this.#connection === connection) this.line.pause();
        const look = (): void => {
            if (connection.ended !== undefined) return;
            if (connection.pending === 0) connection.end();
            else setTimeout(look, 2);
        };
        look();
    }

    /* ---- both */

    async #arrive(connection: Connection, database: HandleValue, isLeader: boolean): Promise<void> {
        if (this.#connection !== connection) return;
        this.isLeader = isLeader;
        this.#database = database.handle;
        const value = await this.line.use(connection, database);
        if (connection.isOver) return;
        await this.#bringCopy(connection, database, isLeader);
        if (connection.isOver) return;
        this.#opening?.resolve(value);
        this.#opening = undefined;
        for (const listener of [...this.listeners]) queueMicrotask(() => listener(isLeader));
    }

    /** The copy follows the store to its new place. Only opening fails with it: later the leader answers instead. */
    async #bringCopy(connection: Connection, database: HandleValue, isLeader: boolean): Promise<void> {
        try {
            if (isLeader) await this.replica?.lead(connection, database);
            else await this.replica?.follow(connection, database, this.#term);
        } catch (error) {
            if (!connection.isOver && this.#opening !== undefined) throw error;
        }
    }

    /** Lets go of the connection, if there is one. */
    #drop(error: VeltaError): void {
        const connection = this.#connection;
        this.#connection = undefined;
        this.line.pause();
        this.isLeader = false;
        connection?.kill(error);
    }

    #refuse(error: unknown): void {
        const opening = this.#opening;
        this.#opening = undefined;
        if (opening === undefined) return;
        this.#end();
        opening.reject(error);
    }

    #end(): void {
        this.#left.abort();
        this.line.end();
        this.replica?.close();
        this.#drop(new VeltaError('CLOSED', 'the store was closed'));
        this.#yield?.();
        this.#channel.close();
        this.listeners.clear();
    }

    /** Closes this tab's part: the store itself, where it is here, after the other tabs have left it. */
    async leave(): Promise<void> {
        const connection = this.#connection;
        const wasLeader = this.isLeader;
        this.#left.abort();
        this.line.pause();
        try {
            if (connection !== undefined && connection.ended === undefined) {
                if (wasLeader) await connection.call('Database', this.#database, 'close', []);
                connection.end();
            }
        } finally {
            this.#end();
        }
    }

    #followLife(): void {
        const { signal } = this.#left;
        const freeze = (): void => {
            this.#isFrozen = true;
            clearTimeout(this.#pause);
            this.#drop(death('the page was frozen'));
            this.#yield?.();
        };
        const resume = (): void => {
            if (!this.#isFrozen) return;
            this.#isFrozen = false;
            this.#begin();
        };
        if (typeof document === 'undefined') return;
        document.addEventListener('freeze', freeze, { signal });
        document.addEventListener('resume', resume, { signal });
        addEventListener('pagehide', ({ persisted }) => persisted && freeze(), { signal });
        addEventListener('pageshow', ({ persisted }) => persisted && resume(), { signal });
    }
}

/** Memory cannot be shared with another tab: an abort goes there as a message. */
function plain(message: ClientMessage): ClientMessage {
    if (!('extras' in message) || message.extras.flag === undefined) return message;
    const { flag: _, ...extras } = message.extras;
    return { ...message, extras };
}

function cancelled(signal: AbortSignal | undefined): VeltaError {
    return new VeltaError('CANCELLED', 'opening was cancelled', { cause: signal?.reason as unknown });
}

class SharedDatabaseObject extends RemoteDatabaseObject {
    readonly #member: Member;

    constructor(member: Member, value: HandleValue) {
        const { line, replica } = member;
        super(replica === undefined ? line : new ReplicaLine(line, replica), value);
        this.#member = member;
    }

    get isReplica(): boolean {
        return this.#member.replica?.isCopy ?? false;
    }

    get isLeader(): boolean {
        return this.#member.isLeader;
    }

    onLeaderChange(callback: (isLeader: boolean) => void): () => void {
        if (typeof callback !== 'function') throw invalid('onLeaderChange takes a function');
        const listener = (isLeader: boolean): void => callback(isLeader);
        this.#member.listeners.add(listener);
        return () => void this.#member.listeners.delete(listener);
    }
}

async function placeOf(name: string, { storage, directory }: SharedOptions): Promise<Place> {
    if (storage !== undefined && storage !== 'opfs' && storage !== 'indexeddb') {
        throw invalid("openShared: storage is 'opfs' or 'indexeddb', which the tabs of an origin share");
    }
    const chosen = storage ?? ((await isOpfsSupported()) ? 'opfs' : 'indexeddb');
    const folder = chosen === 'opfs' ? (directory ?? 'velta') : '';
    return {
        storage: chosen,
        channel: `velta-shared:${chosen}:${encodeURIComponent(folder)}:${encodeURIComponent(name)}`,
    };
}

/**
 * Opens a stored database that all tabs of the origin use as one: what {@link openWorker} gives, in each of them. One
 * tab has the store in its worker, the others' calls go there; when it is closed, crashes or is frozen, another takes
 * over, and tables, families, queries and watches go on.
 *
 * Calls that read are made again then. A call that changes something and whose answer did not come rejects with
 * UNCERTAIN: it may have been made or not, and it is never made twice. Iterators reject with CLOSED.
 *
 * @throws {VeltaError} UNSUPPORTED without Web Locks and BroadcastChannel; WORKER when the tabs run different versions;
 *     otherwise as {@link openWorker}
 */
export async function openShared(name: string, options: SharedOptions = {}): Promise<SharedDatabase> {
    checkOptions('openShared', options, OPTIONS);
    checkName(name);
    throwIfAborted(options.signal);
    const locks = (globalThis.navigator as Partial<Navigator> | undefined)?.locks;
    if (locks === undefined || typeof BroadcastChannel !== 'function' || typeof Worker !== 'function') {
        const sentence = 'openShared is for the tabs of a browser, on https pages and localhost; use openWorker()';
        throw new VeltaError('UNSUPPORTED', sentence);
    }
    if (options.replica !== undefined && typeof options.replica !== 'boolean') {
        throw invalid('openShared: replica is true or false');
    }
    const place = await placeOf(name, options);
    defineAll();
    throwIfAborted(options.signal);
    const init = portable(options.init);
    init.catch(() => undefined); /* told where it is needed */
    const member = new Member(name, place, options, init);
    return new SharedDatabaseObject(member, await member.open()) as unknown as SharedDatabase;
}

function replicaOf(
    { channel }: Place,
    { replica, memoryBudget, chainInterval, autoIndex, worker }: SharedOptions,
    init: Promise<object | undefined>,
): Replica | undefined {
    if (replica !== true) return undefined;
    return new Replica(channel, { memoryBudget, chainInterval, autoIndex, worker, init });
}

const OPTIONS = [
    'storage',
    'replica',
    'directory',
    'durability',
    'mustExist',
    'memoryBudget',
    'checkpointBytes',
    'checkpointSeconds',
    'chainInterval',
    'autoIndex',
    'signal',
    'onProgress',
    'init',
    'worker',
];
