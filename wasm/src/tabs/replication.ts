/*
 * The worker's side of replicas: what the leader's database gives of its log, and what a copy takes.
 *
 * A position is 16 bytes, the number of the last change and the digest of all that was logged (store/velta.h). Copies
 * compare positions, and read of them only the number.
 */
import type { Database } from '../database.js';

/** Where a database stands: 16 bytes. @internal */
export type Position = Uint8Array;

/** What the leader tells after changes: frames from one position to the other; none: a jump. @internal */
export interface LogMessage {
    readonly type: 'log';
    readonly term: string;
    readonly from: Position;
    readonly to: Position;
    readonly frames: Uint8Array;
}

/** A piece of the log, and where it leads. @internal */
export interface LogPiece {
    readonly frames: Uint8Array;
    readonly position: Position;
}

/** Frames are sent in pieces of about so many bytes. */
const PIECE_BYTES = 1 << 20;

/** The channel on which the leader's log is told. @internal */
export function logChannelName(channel: string): string {
    return `${channel}:log`;
}

/** The number of the last change of a position. @internal */
export function sequenceOf(position: Position): bigint {
    return new DataView(position.buffer, position.byteOffset).getBigUint64(0, true);
}

/** @internal */
export function samePosition(a: Position, b: Position): boolean {
    return a.every((byte, i) => byte === b[i]);
}

/** Whether a value from another tab is a position. @internal */
export function isPosition(value: unknown): value is Position {
    return value instanceof Uint8Array && value.length === 16;
}

/** A message of the log's channel in its right form; `undefined` for anything else. @internal */
export function readLogMessage(data: unknown): LogMessage | undefined {
    const { type, term, from, to, frames } = (data ?? {}) as Record<string, unknown>;
    const isLog = type === 'log' && typeof term === 'string' && frames instanceof Uint8Array;
    return isLog && isPosition(from) && isPosition(to) ? (data as LogMessage) : undefined;
}

/** What the messages of kind `Log` call. @internal */
export class Replication {
    readonly #database: Database;

    constructor(database: Database) {
        this.#database = database;
    }

    position(): Position {
        return this.#database.logPosition();
    }

    /** The whole database, and where it stands. */
    snapshot(): { readonly bytes: Uint8Array; readonly position: Position } {
        return { position: this.position(), bytes: this.#database.export() };
    }

    /** What came after a position; null: nothing. @throws {VeltaError} HISTORY_GONE */
    since(position: Position): LogPiece | null {
        return this.#database.logSince(position, PIECE_BYTES);
    }

    /** Applies frames to a copy. Gives the position after them. */
    follow(position: Position, frames: Uint8Array): Position {
        return this.#database.follow(position, frames);
    }
}
