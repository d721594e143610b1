/*
 * The worker's side of a store that several tabs share.
 *
 * The tabs of a store have one channel, on which a worker that has opened the store tells so, with the term (a name for
 * this time of sharing). Any tab may ask who has it. A tab that joins has a session and a channel of its own with the
 * worker, so that no other tab gets copies of its messages. It holds a lock for the session: when the worker gets it,
 * the tab is gone, and so are its iterators and watches. The worker holds one for the term, to the same end.
 *
 * Retiring: no more calls are taken, but each that comes is answered, by `moved`, so that its tab knows that it was not
 * made; what was taken is finished. It ends when the tabs have left, or after RETIRE_MS for those that cannot.
 */
import { type ClientMessage, readClientMessage, type ShareValue, tabLock } from '../worker/protocol.js';
import type { ServerPort } from '../worker/server.js';
import { logChannelName, type LogPiece, type Position, type Replication } from './replication.js';

const RETIRE_MS = 2000;

/** A session of a tab, as the hub sees it. */
export interface TabSession {
    attach(message: ClientMessage & { type: 'attach' }): void;
    receive(message: ClientMessage): void;
    end(): Promise<void>;
}

interface Tab {
    readonly channel: BroadcastChannel;
    readonly session: TabSession;
    readonly waiting: AbortController;
    readonly follows: boolean;
}

/** The name of the channel between one tab and the worker. */
export function tabChannelName(channel: string, session: number): string {
    return `${channel}:${session}`;
}

/** The lock that the worker holds for its term: a tab that gets it knows that the worker is gone. */
export function termLock(channel: string, term: string): string {
    return `${channel}:${term}`;
}

/** The tabs of one store, in the worker that has it. */
export class Hub {
    readonly #share: ShareValue;
    readonly #channel: BroadcastChannel;
    readonly #begin: (session: number, port: ServerPort) => TabSession;
    readonly #tabs = new Map<number, Tab>();
    readonly #replication: Replication;
    readonly #log: BroadcastChannel;
    /** Up to where the copies have been told; undefined: there are none. */
    #told: Position | undefined;
    #isRetired = false;
    #unlock: (() => void) | undefined;
    #onEmpty: (() => void) | undefined;

    constructor(share: ShareValue, replication: Replication, begin: (session: number, port: ServerPort) => TabSession) {
        this.#share = share;
        this.#replication = replication;
        this.#log = new BroadcastChannel(logChannelName(share.channel));
        this.#begin = begin;
        this.#channel = new BroadcastChannel(share.channel);
        this.#channel.onmessage = ({ data }) => this.#receive(data);
        const hold = (): Promise<void> => {
            this.#announce();
            return new Promise((resolve) => (this.#unlock = resolve));
        };
        navigator.locks.request(termLock(share.channel, share.term), hold).catch(() => undefined);
    }

    /** Tells the tabs who has the store. */
    #announce(): void {
        this.#channel.postMessage({ type: 'leader', term: this.#share.term });
    }

    #receive(data: unknown): void {
        if (this.#isRetired || this.#unlock === undefined) return;
        if ((data as { type?: unknown } | null)?.type === 'who') {
            this.#announce();
            return;
        }
        const message = readClientMessage(data);
        if (message?.type !== 'attach' || message.term !== this.#share.term) return;
        if (!this.#tabs.has(message.velta)) this.#attach(message);
    }

    #attach(message: ClientMessage & { type: 'attach' }): void {
        const number = message.velta;
        const channel = new BroadcastChannel(tabChannelName(this.#share.channel, number));
        const session = this.#begin(number, { post: (answer) => channel.postMessage(answer) });
        const waiting = new AbortController();
        const follows = message.follows === true;
        this.#tabs.set(number, { channel, session, waiting, follows });
        if (follows) this.publish();
        channel.onmessage = ({ data }) => this.#pass(number, data);
        const gone = (): void => this.#drop(number);
        navigator.locks.request(tabLock(number), { signal: waiting.signal }, gone).catch(() => undefined);
        session.attach(message);
    }

    #pass(number: number, data: unknown): void {
        const message = readClientMessage(data);
        const tab = this.#tabs.get(number);
        if (tab === undefined || message?.velta !== number) return;
        if (message.type === 'end') this.#drop(number);
        else if (message.type === 'call' && this.#isRetired) {
            tab.channel.postMessage({ velta: number, type: 'moved', id: message.id, args: message.args });
        } else tab.session.receive(message);
    }

    #drop(number: number): void {
        const tab = this.#tabs.get(number);
        if (tab === undefined) return;
        this.#tabs.delete(number);
        if (![...this.#tabs.values()].some(({ follows }) => follows)) this.#told = undefined;
        tab.waiting.abort();
        tab.session.end().catch(() => undefined);
        tab.channel.close();
        if (this.#tabs.size === 0) this.#onEmpty?.();
    }

    /** Where the store stands; undefined where it cannot say. */
    position(): Position | undefined {
        try {
            return this.#replication.position();
        } catch {
            return undefined;
        }
    }

    /** Tells the copies what has changed. What cannot be told as frames is a jump, and the copies ask. */
    publish(): void {
        if (![...this.#tabs.values()].some(({ follows }) => follows)) return;
        for (;;) {
            const position = this.position();
            if (position === undefined) return;
            const from = (this.#told ??= position);
            const piece = this.#piece(from, position);
            if (piece === null) return;
            this.#told = piece.position;
            const { term } = this.#share;
            this.#log.postMessage({ type: 'log', term, from, to: piece.position, frames: piece.frames });
        }
    }

    #piece(from: Position, position: Position): LogPiece | null {
        try {
            return this.#replication.since(from);
        } catch {
            return { position, frames: new Uint8Array() };
        }
    }

    /** Has the tabs leave. */
    async retire(): Promise<void> {
        if (this.#isRetired) return;
        this.#isRetired = true;
        this.#channel.close();
        if (this.#tabs.size === 0) return;
        const left = new Promise<void>((resolve) => (this.#onEmpty = resolve));
        for (const [velta, { channel }] of this.#tabs) channel.postMessage({ velta, type: 'bye' });
        await Promise.race([left, new Promise((resolve) => setTimeout(resolve, RETIRE_MS))]);
    }

    close(): void {
        this.#isRetired = true;
        this.#channel.close();
        this.#log.close();
        for (const number of [...this.#tabs.keys()]) this.#drop(number);
        this.#unlock?.();
    }
}
