/*
 * Where streams of deltas go: a table or a DeltaVectorDB, in this thread or in a worker.
 */
import { DeltaVectorDB } from '../delta_vector_db.js';
import { VeltaError, describe } from '../errors.js';
import type { Schema } from '../schema.js';
import { Table } from '../table.js';
import type { RemoteDeltaVectorDB, RemoteTable } from '../worker/remote.js';
import type { AppliedRecords, ApplyRecordsOptions } from './apply_records.js';

/** What a table of any schema does for streams. */
type RecordMethods = 'applyRecords' | 'streamPosition';

/** Something in this thread that deltas are applied to. */
export type LocalDeltaTarget = DeltaVectorDB | Pick<Table<Schema>, RecordMethods | 'database' | 'withVector'>;
/** Something that deltas are applied to, here or in a worker. */
export type DeltaTarget = LocalDeltaTarget | RemoteDeltaVectorDB | Pick<RemoteTable<Schema>, RecordMethods>;

/** @internal */
export function isLocal(target: DeltaTarget): target is LocalDeltaTarget {
    return target instanceof DeltaVectorDB || target instanceof Table;
}

/** @throws {VeltaError} TYPE @internal */
export function checkTarget(target: unknown): DeltaTarget {
    const is =
        typeof target === 'object' &&
        target !== null &&
        typeof (target as { applyRecords?: unknown }).applyRecords === 'function';
    if (!is) throw new VeltaError('TYPE', `deltas go to a DeltaVectorDB or a Table, not to ${describe(target)}`);
    return target as DeltaTarget;
}

/** Applies records where the target is. @internal */
export function applyTo(
    target: DeltaTarget,
    records: Uint8Array,
    options: ApplyRecordsOptions,
): AppliedRecords | Promise<AppliedRecords> {
    return (target as { applyRecords(records: Uint8Array, options: ApplyRecordsOptions): AppliedRecords }).applyRecords(
        records,
        options,
    );
}

/** Resolves when a strict target in this thread has made its changes durable; undefined: they are. @internal */
export function durable(target: DeltaTarget): Promise<void> | undefined {
    if (!isLocal(target)) return undefined;
    return target.database.durable();
}

/** Makes everything that was applied durable. @internal */
export function flushTarget(target: DeltaTarget): Promise<void> {
    return target instanceof DeltaVectorDB || 'flush' in target
        ? (target as { flush(): Promise<void> }).flush()
        : (target as Table).database.flush();
}
