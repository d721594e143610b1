/*
 * A tab's own copy of a shared store, in memory: it begins with an export of the store and takes every change as
 * frames of the store's log, which the worker that has the store tells on one channel for all copies. Reads of the
 * tab are answered by the copy, in a worker of its own; everything else goes to the worker that has the store.
 *
 * What a message of the log leads from must be where the copy stands. If it is not, messages were lost, or the store
 * has gone another way: what is missing is asked for, and where the log does not reach back, a new export. The same
 * happens with each worker that gets the store, so a copy never follows two courses of a store.
 *
 * Order: every answer, error and event of the leader to this tab says where the store stood then, and is told here only
 * when the copy is there, too: so a tab reads what it wrote, and never reads less than it was told before. The first
 * answers of another leader wait until the copy was found to be, or made, one of its course: a copy may have heard of
 * changes that went with the leader before, and then it is ahead in numbers only. A new copy is read only once it has
 * what was told while it came. While changes of this tab are under way, its reads go to the leader behind them. Where
 * there is no copy (this tab has the store itself; the copy found no memory; a new one is on its way) reads go to the
 * leader.
 */
import { VeltaError } from '../errors.js';
import { Connection, type Line, Reference, type WorkerOptions } from '../worker/client.js';
import { endsObject, type HandleValue, type QueryStep, type RemoteKind, WRITING } from '../worker/protocol.js';
import { SharedLine, wayTo } from './line.js';
import {
    isPosition,
    type LogMessage,
    logChannelName,
    type LogPiece,
    type Position,
    readLogMessage,
    samePosition,
    sequenceOf,
} from './replication.js';

/** A copy that has not heard of a change after so long asks for it. */
const HEAR_MS = 100;

/** What copies answer, beside all methods of queries and iterators that do not write. */
const READING: ReadonlySet<string> = new Set([
    'Database.tableNames',
    'Database.hasTable',
    'Database.listColumnFamilies',
    'Database.export',
    'Database.tagTime',
    'Database.watch',
]);
const READ_KINDS: readonly RemoteKind[] = ['Table', 'Query', 'ColumnFamily'];

/** How copies are opened. */
export interface ReplicaOptions {
    readonly memoryBudget?: number | undefined;
    readonly chainInterval?: number | undefined;
    readonly autoIndex?: boolean | undefined;
    readonly worker: WorkerOptions['worker'] | undefined;
    readonly init: Promise<object | undefined>;
}

interface Leader {
    readonly connection: Connection;
    readonly database: HandleValue;
    readonly term: string;
}

interface Copy {
    readonly connection: Connection;
    readonly database: HandleValue;
    position: Position;
    /** Reads are sent to it: it has been where the leader was. */
    isRead: boolean;
}

interface Waiting {
    readonly at: Position;
    resolve(): void;
}

/** The copy of one tab. @internal */
export class Replica {
    /** What reads are sent through: to the copy, or to the leader. */
    readonly line = new SharedLine(() => Promise.resolve());
    readonly #options: ReplicaOptions;
    readonly #channel: BroadcastChannel;
    #leader: Leader | undefined;
    #copy: Copy | undefined;
    /** Whether the copy, if there is one, is on the course of the last leader. */
    #isSettled = true;
    /** The store has come to this tab, and its copy is still there. */
    #isLeaving = false;
    /** To the worker of a copy that is being made. */
    #making: Connection | undefined;
    #waiting: Waiting[] = [];
    #turn: Promise<unknown> = Promise.resolve();
    #isEnded = false;

    constructor(channel: string, options: ReplicaOptions) {
        this.#options = options;
        this.#channel = new BroadcastChannel(logChannelName(channel));
        this.#channel.onmessage = ({ data }) => {
            const message = readLogMessage(data);
            if (message !== undefined) this.#later(() => this.#hear(message));
        };
    }

    /** Whether reads are answered in this tab by a copy. */
    get isCopy(): boolean {
        return this.#copy?.isRead === true && !this.#isLeaving;
    }

    /** The store is in this tab's own worker: its database answers the reads. */
    lead(connection: Connection, database: HandleValue): Promise<void> {
        this.#leader = undefined;
        this.#isSettled = false;
        this.#isLeaving = true;
        return this.#inTurn(() => this.#useLeader(connection, database));
    }

    /** The store is in another tab. Resolves when the copy is where the store is; rejects where there cannot be one. */
    follow(connection: Connection, database: HandleValue, term: string): Promise<void> {
        this.#leader = { connection, database, term };
        this.#isSettled = false;
        this.#isLeaving = false;
        return this.#inTurn(async () => {
            if (!this.isCopy) await this.#useLeader(connection, database);
            await this.#catchUp();
        });
    }

    /** The connection has ended: the copy goes on by itself. */
    depart(connection: Connection): void {
        if (this.#leader?.connection === connection) {
            this.#leader = undefined;
            this.#isSettled = false;
        }
        if (!this.isCopy) this.line.pause();
    }

    /**
     * Resolves when the copy is where the leader was, or is no more; undefined: at once. Before the next leader is
     * followed only events wait: its answers are what following waits for.
     */
    reach(at: unknown, isEvent: boolean): Promise<void> | undefined {
        const copy = this.#leader === undefined && !this.#isLeaving && !isEvent ? undefined : this.#copy;
        if (copy === undefined || !isPosition(at) || (this.#isSettled && isAt(copy.position, at))) return undefined;
        return new Promise((resolve) => {
            const waiting = { at, resolve };
            this.#waiting.push(waiting);
            setTimeout(() => {
                if (this.#waiting.includes(waiting)) this.#later(() => this.#catchUp());
            }, HEAR_MS);
        });
    }

    close(): void {
        this.#isEnded = true;
        this.#leader = undefined;
        this.#channel.close();
        this.#making?.end();
        this.#drop();
        this.line.end();
    }

    /** One thing at a time; failures are the caller's, if there is one. */
    #inTurn(work: () => Promise<void>): Promise<void> {
        const done = this.#turn.then(() => (this.#isEnded ? undefined : work()));
        this.#turn = done.catch(() => undefined);
        return done;
    }

    /** What nobody waits for: when it fails, the leader answers. */
    #later(work: () => Promise<void>): void {
        this.#inTurn(work).catch(() => undefined);
    }

    async #hear({ term, from, to, frames }: LogMessage): Promise<void> {
        const copy = this.#copy;
        if (copy === undefined || term !== this.#leader?.term || samePosition(to, copy.position)) return;
        if (samePosition(from, copy.position) && frames.length > 0) {
            if (await this.#take(copy, { frames, position: to })) return;
        } else if (sequenceOf(to) < sequenceOf(copy.position)) {
            return; /* told before */
        }
        await this.#catchUp();
    }

    /** Applies a piece. False: it was refused, and the copy is as it was; or the copy is gone. */
    async #take(copy: Copy, { frames, position }: LogPiece): Promise<boolean> {
        try {
            await copy.connection.call('Log', copy.database.handle, 'follow', [copy.position, frames]);
        } catch (error) {
            const isRefused = error instanceof VeltaError && (error.code === 'CORRUPT' || error.code === 'NOT_FOUND');
            if (!isRefused) await this.#giveUp();
            return false;
        }
        copy.position = position;
        this.#tell();
        return true;
    }

    /** Brings the copy to where the leader is; makes it anew where the log does not reach back, or once it failed. */
    async #catchUp(): Promise<void> {
        const leader = this.#leader;
        let failures = 0;
        while (leader !== undefined && leader === this.#leader && leader.connection.ended === undefined) {
            const copy = this.#copy ?? (await this.#snapshot(leader));
            const piece = await this.#ask(leader, copy);
            if (leader !== this.#leader) return;
            if (piece === null) {
                if (!copy.isRead) {
                    await this.#read(copy); /* meanwhile more may have been told: asks again */
                    continue;
                }
                this.#isSettled = true;
                this.#tell(true);
                return;
            }
            if (piece !== undefined && (await this.#take(copy, piece))) continue;
            await this.#giveUp();
            if (piece !== undefined && ++failures > 1) return;
        }
    }

    /** What came after the copy's position; null: nothing; undefined: that is not known any more. */
    async #ask({ connection, database }: Leader, copy: Copy): Promise<LogPiece | null | undefined> {
        try {
            return (await connection.call('Log', database.handle, 'since', [copy.position])) as LogPiece | null;
        } catch (error) {
            if (error instanceof VeltaError && error.code === 'HISTORY_GONE') return undefined;
            throw error;
        }
    }

    async #snapshot(leader: Leader): Promise<Copy> {
        const { worker, init, ...options } = this.#options;
        const answer = await leader.connection.call('Log', leader.database.handle, 'snapshot', []);
        const { bytes, position } = answer as { bytes: Uint8Array<ArrayBuffer>; position: Position };
        const start = await init;
        const made: Connection = new Connection({
            onEnd: () => {
                if (this.#copy?.connection !== made) return;
                this.#later(async () => {
                    await this.#giveUp();
                    await this.#catchUp();
                });
            },
        });
        if (this.#isEnded) throw closed();
        this.#making = made;
        const database = await made.copy(worker, bytes, options, start).finally(() => (this.#making = undefined));
        if (this.#isEnded) {
            made.end();
            throw closed();
        }
        return (this.#copy = { connection: made, database, position, isRead: false });
    }

    /** Sends the reads to a copy that has all that this tab was told. */
    async #read(copy: Copy): Promise<void> {
        this.line.pause();
        await this.line.use(copy.connection, copy.database);
        copy.isRead = true;
    }

    /** The copy ends, and the leader answers. */
    async #giveUp(): Promise<void> {
        const leader = this.#leader;
        if (leader === undefined) {
            this.line.pause();
            this.#drop();
        } else {
            await this.#useLeader(leader.connection, leader.database);
        }
    }

    async #useLeader(connection: Connection, database: HandleValue): Promise<void> {
        this.line.pause();
        this.#drop();
        await this.line.use(connection, database);
    }

    #drop(): void {
        const copy = this.#copy;
        this.#copy = undefined;
        copy?.connection.end();
        this.#tell(true);
    }

    /** Lets those go on that waited for where the copy is now; or all, where it is at the leader's end or no more. */
    #tell(all = false): void {
        const waiting = this.#waiting;
        const position = this.#copy?.position;
        const isThere = ({ at }: Waiting): boolean =>
            all || position === undefined || (this.#isSettled && isAt(position, at));
        this.#waiting = waiting.filter((one) => !isThere(one));
        for (const one of waiting) if (isThere(one)) one.resolve();
    }
}

function closed(): VeltaError {
    return new VeltaError('CLOSED', 'the store was closed');
}

/** Whether a copy there has what a leader there had. */
function isAt(position: Position, leader: Position): boolean {
    return samePosition(position, leader) || sequenceOf(position) > sequenceOf(leader);
}

/** An object of the database: its handles in the line to the leader, and in that of the reads once needed. */
interface Held {
    readonly kind: RemoteKind;
    readonly again: readonly [method: string, ...args: unknown[]] | undefined;
    readonly leader: number | undefined;
    reading: number | undefined;
    isAsked?: boolean;
}

/** Sends each call where it belongs: to the leader, or to what answers the reads. @internal */
export class ReplicaLine implements Line {
    readonly #leader: SharedLine;
    readonly #replica: Replica;
    readonly #held = new Map<number, Held>();
    #lastHandle = 1;
    /** Changes under way. */
    #writing = 0;

    constructor(leader: SharedLine, replica: Replica) {
        this.#leader = leader;
        this.#replica = replica;
        this.#held.set(1, { kind: 'Database', again: undefined, leader: 1, reading: 1 });
    }

    call(kind: RemoteKind, handle: number, method: string, args: unknown[], steps?: QueryStep[]): Promise<unknown> {
        const held = this.#held.get(handle);
        if (held === undefined) {
            return Promise.reject(new VeltaError('CLOSED', `${kind}.${method}: the object was closed`));
        }
        const name = `${kind}.${method}`;
        const isReading = READING.has(name) || (READ_KINDS.includes(kind) && !WRITING.has(name));
        const isFirst = this.#writing === 0 || method === 'watch';
        const { leader, reading } = held;
        if (endsObject(kind, method)) this.#held.delete(handle);
        const isOurs = isReading && isFirst && this.#replica.isCopy;
        if (isOurs && reading === undefined) void this.#obtain(held);
        if (reading !== undefined && (isOurs || leader === undefined)) {
            return this.#read(reading, kind, method, args, steps);
        }
        return this.#ask(leader as number, kind, method, args, steps);
    }

    release(handle: number): void {
        const held = this.#held.get(handle);
        this.#held.delete(handle);
        if (held?.leader !== undefined) this.#leader.release(held.leader);
        if (held?.reading !== undefined) this.#replica.line.release(held.reading);
    }

    end(): void {
        this.#leader.end();
    }

    async #ask(
        handle: number,
        kind: RemoteKind,
        method: string,
        args: unknown[],
        steps?: QueryStep[],
    ): Promise<unknown> {
        const isWriting = WRITING.has(`${kind}.${method}`);
        this.#writing += Number(isWriting);
        try {
            const result = await this.#leader.call(kind, handle, method, args, steps);
            if (!(result instanceof Reference)) return result;
            const { value } = result;
            const reference = this.#hold(value, { leader: value.handle, reading: undefined });
            const held = this.#held.get(reference.value.handle) as Held;
            if (held.again !== undefined && this.#replica.isCopy) await this.#obtain(held);
            return reference;
        } finally {
            this.#writing -= Number(isWriting);
        }
    }

    async #read(at: number, kind: RemoteKind, method: string, args: unknown[], steps?: QueryStep[]): Promise<unknown> {
        const result = await this.#replica.line.call(kind, at, method, args, steps);
        if (!(result instanceof Reference)) return result;
        return this.#hold(result.value, { leader: undefined, reading: result.value.handle });
    }

    /** Asks for the object in the line of the reads; until it is there the leader is asked. */
    async #obtain(held: Held): Promise<void> {
        if (held.again === undefined || held.isAsked === true) return;
        held.isAsked = true;
        try {
            const [method, ...args] = held.again;
            const found = (await this.#replica.line.call('Database', 1, method, args)) as Reference;
            held.reading = found.value.handle;
        } catch {
            /* The copy is gone, or the object: the leader says which. */
        }
        held.isAsked = false;
    }

    #hold(value: HandleValue, where: Pick<Held, 'leader' | 'reading'>): Reference {
        const handle = ++this.#lastHandle;
        this.#held.set(handle, { kind: value.kind, again: wayTo(value), ...where });
        return new Reference({ ...value, handle });
    }
}
