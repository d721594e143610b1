/**
 * velta: an embedded store that finds rows by meaning and by value in one query.
 *
 * `await init()` once; then `createDatabase()` gives a database in memory, `open(name)` one that persists, and tables
 * of typed rows are written, filtered and searched synchronously.
 *
 * @packageDocumentation
 */
export { VeltaError, type VeltaCode, type VeltaErrorData } from './velta_error.js';
export { init, moduleInfo, type Build, type InitOptions, type ModuleInfo, type WasmSource } from './module.js';
export type { Progress } from './instance.js';
export {
    key,
    required,
    vector,
    type ColumnDefinition,
    type ColumnName,
    type ColumnOfType,
    type ColumnType,
    type FullColumn,
    type FullScalarColumn,
    type FullVectorColumn,
    type InsertOf,
    type KeyOf,
    type Metric,
    type RequiredColumn,
    type RowOf,
    type ScalarColumn,
    type ScalarType,
    type Schema,
    type TypeOf,
    type ValueIn,
    type ValueOut,
    type VectorColumn,
    type VectorElement,
} from './schema.js';
export {
    Database,
    createDatabase,
    importDatabase,
    type CompactOptions,
    type CompactStats,
    type DatabaseLog,
    type DatabaseStats,
    type LogStatus,
    type MemoryOptions,
    type StorageKind,
} from './database.js';
export {
    openSnapshot,
    type SnapshotDatabase,
    type SnapshotGraphs,
    type SnapshotOptions,
    type SnapshotProgress,
    type SnapshotSource,
    type SnapshotState,
} from './snapshot.js';
export { RangeClient, type RangeClientOptions, type RangeProbe, type RangeProgress } from './ranges/range_client.js';
export type { RangeSource, RangeStats, ReadRangeOptions, Tail } from './ranges/source.js';
export { MemoryBudget, type Allocation, type BudgetStats } from './ranges/memory_budget.js';
export {
    deleteDatabase,
    isOpfsSupported,
    listDatabases,
    open,
    requestPersistence,
    type OpenOptions,
    type Persistence,
    type StorageOptions,
} from './storage/open.js';
export { Table, type ReadOptions, type WriteStats } from './table.js';
export { NULL_INT, type ColumnArray, type ColumnBatch, type ColumnData } from './values.js';
export type { Explain, Hit, SearchResult } from './result.js';
export type { SearchArrays, SearchOptions } from './search.js';
export { Query, count, max, mean, min, sum, type Aggregate, type AggregateValues, type Aggregates } from './query.js';
export { RowIterator, type RangeOptions } from './iterator.js';
export type { Change, ChangeKind } from './watch.js';
export type { LiveSearchCallback, LiveSearchOptions } from './live_search.js';
export type { ChainItem, DeltaOperation, TableDelta } from './delta.js';
export {
    Filter,
    and,
    between,
    contains,
    endsWith,
    eq,
    filter,
    gt,
    gte,
    inList,
    isNull,
    like,
    lt,
    lte,
    ne,
    not,
    notIn,
    notNull,
    or,
    startsWith,
    type FilterValue,
} from './filter.js';
export {
    ColumnFamily,
    FamilyIterator,
    type FamilyKey,
    type FamilyKeyKind,
    type FamilyKeyOf,
    type FamilyOptions,
    type FamilyValue,
} from './column_family.js';
export {
    ColumnStore,
    type BatchUpsertResult,
    type ColumnStoreOpenOptions,
    type ColumnStoreOptions,
    type StoreColumn,
    type StoreColumnType,
    type StoreFilterValue,
    type StoreKey,
    type StoreMemory,
    type StoreRow,
    type StoreValue,
    type StoredRow,
    type VacuumStats,
} from './column_store.js';
export type { FailedRow } from './batch_upsert.js';
export { RowBitmap, type BitmapOperand } from './row_bitmap.js';
export {
    ColumnStorePersistence,
    type ColumnStorePersistenceOptions,
    type LoadOptions,
    type SaveOptions,
    type SaveStats,
    type StoreMetadata,
} from './column_store_persistence.js';
export {
    DeltaVectorDB,
    type DeltaChainItem,
    type DeltaListener,
    type DeltaVectorDBOpenOptions,
    type DeltaVectorDBOptions,
    type VectorCompactOptions,
    type VectorDelta,
    type VectorMatch,
    type VectorSearchOptions,
    type VectorStats,
} from './delta_vector_db.js';
export {
    SharedDeltaPool,
    type PoolDrainOptions,
    type PoolEnd,
    type PoolFlushOptions,
    type PoolOptions,
    type PoolWriteOptions,
} from './stream/shared_delta_pool.js';
export {
    DeltaStreamProcessor,
    type DeltaSource,
    type DeltaStreamOptions,
    type StreamDeltasOptions,
} from './stream/delta_stream_processor.js';
export { decodeRecords, encodeRecords, type RecordDelta, type StreamDelta } from './stream/records.js';
export type { AppliedRecords, ApplyRecordsOptions } from './stream/apply_records.js';
export type { DeltaTarget, LocalDeltaTarget } from './stream/target.js';
export {
    readEvents,
    readNdjson,
    readRecords,
    readWebSocket,
    type ReadDeltasOptions,
    type ReadEventsOptions,
    type ReadSocketOptions,
    type SocketLike,
} from './stream/readers.js';
export type { ByteSource } from './stream/chunks.js';
export { openColumnStoreWorker, openDeltaVectorWorker, openWorker, type WorkerOptions } from './worker/client.js';
export { openShared, type SharedDatabase, type SharedOptions } from './tabs/open_shared.js';
export { restore, type RestoreOptions } from './worker/restore.js';
export type { NodeWorker, WorkerSource } from './worker/channel.js';
export type {
    Remote,
    RemoteColumnFamily,
    RemoteColumnStore,
    RemoteDatabase,
    RemoteDeltaVectorDB,
    RemoteFamilyIterator,
    RemoteIterator,
    RemoteQuery,
    RemoteResult,
    RemoteTable,
} from './worker/remote.js';
