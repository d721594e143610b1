/**
 * Types of what the WebAssembly module exports and imports: the other side of wasm/exports.c, which has the comments.
 *
 * Addresses and handles are unsigned 32-bit numbers (wasm gives them signed: `>>> 0` where one is used as an index).
 * Functions give a status, 0 for success, unless their name says otherwise.
 */

/** An address in the module's memory, or a handle, which is one. 0: none. */
export type Address = number;
/** A status of the engine; 0 is success. */
export type Status = number;

/** What the module exports. */
export interface Exports {
    abi_error(): Address;
    abi_allocate(bytes: number): Address;
    abi_release(memory: Address, bytes: number): void;

    abi_open(
        storage: number,
        flags: number,
        budgetBytes: number,
        checkpointBytes: number,
        chainInterval: number,
        threads: number,
        clock: number,
        progress: number,
        out: Address,
    ): Status;
    abi_import(
        bytes: Address,
        sizeBytes: number,
        flags: number,
        budgetBytes: number,
        chainInterval: number,
        threads: number,
        clock: number,
        progress: number,
        out: Address,
    ): Status;
    /** The number of bytes. */
    abi_snapshot_head_bytes(bytes: Address, sizeBytes: number): number;
    abi_snapshot_begin(
        head: Address,
        headBytes: number,
        fileBytes: number,
        flags: number,
        budgetBytes: number,
        chainInterval: number,
        threads: number,
        clock: number,
        out: Address,
    ): Status;
    abi_snapshot_segments(snapshot: Address, out: Address): void;
    abi_snapshot_feed(snapshot: Address, bytes: Address, sizeBytes: number): Status;
    abi_snapshot_open(snapshot: Address, out: Address): Status;
    abi_snapshot_attach(snapshot: Address, out: Address): Status;
    abi_snapshot_close(snapshot: Address): void;
    abi_close(db: Address): Status;
    abi_flush(db: Address): Status;
    abi_checkpoint(db: Address, progress: number): Status;
    abi_export(db: Address, progress: number, out: Address): Status;
    abi_export_free(db: Address, bytes: Address, sizeBytes: number): void;
    abi_log_position(db: Address, out: Address): Status;
    abi_log_since(db: Address, position: Address, maxBytes: number, out: Address): Status;
    abi_follow(db: Address, position: Address, bytes: Address, sizeBytes: number): Status;
    abi_compact(
        db: Address,
        keepSince: number,
        tags: Address,
        tagCount: number,
        progress: number,
        stats: Address,
    ): Status;
    abi_tag(db: Address, name: Address): Status;
    abi_tag_time(db: Address, name: Address, out: Address): Status;
    abi_index(db: Address, maxNodes: number, progress: number, pending: Address): Status;
    abi_stats(db: Address, out: Address): Address;
    abi_verify(db: Address, progress: number): Status;

    abi_table_create(db: Address, name: Address, columns: Address, count: number, out: Address): Status;
    abi_table_find(db: Address, name: Address, out: Address): Status;
    abi_table_at(db: Address, index: number): Address;
    abi_table_drop(table: Address): Status;
    abi_column_add(table: Address, column: Address): Status;
    abi_table_name(table: Address): Address;
    abi_column_count(table: Address): number;
    abi_column_at(table: Address, index: number): Address;
    abi_row_count(table: Address): number;
    abi_live_count(table: Address): number;
    abi_next_expiry(table: Address, rows: Address, rowCount: number): number;

    abi_insert(
        table: Address,
        values: Address,
        valueCount: number,
        rowCount: number,
        upsert: number,
        progress: number,
        stats: Address,
    ): Status;
    abi_update(
        table: Address,
        keys: Address,
        keyCount: number,
        values: Address,
        valueCount: number,
        sequence: Address,
    ): Status;
    abi_delete(table: Address, keys: Address, keyCount: number, deleted: Address): Status;
    abi_expire_at(table: Address, keys: Address, keyCount: number, times: Address): Status;
    abi_expire(table: Address, now: number, deleted: Address): Status;
    abi_apply(table: Address, column: Address, deltas: Address, count: number, time: number, ids: Address): Status;

    abi_apply_records(
        table: Address,
        column: Address,
        records: Address,
        sizeBytes: number,
        limit: number,
        streams: Address,
        name: Address,
        nameBytes: number,
        ids: Address,
        counts: Address,
    ): Status;

    abi_find(table: Address, keys: Address, keyCount: number, at: number, rows: Address): Status;
    abi_find_text(table: Address, text: Address, bytes: number, at: number, row: Address): Status;
    abi_get(
        table: Address,
        rows: Address,
        rowCount: number,
        columns: Address,
        columnCount: number,
        at: number,
        out: Address,
    ): Status;
    abi_get_vector(table: Address, column: Address, row: number, at: number, out: Address): Status;
    abi_vector_view(table: Address, column: Address, row: number): Address;
    abi_vector_of_text(
        table: Address,
        column: Address,
        text: Address,
        bytes: number,
        copy: Address,
        out: Address,
    ): Status;
    abi_get_chain(table: Address, column: Address, row: number, out: Address): Status;
    abi_result_chain(result: Address, count: Address): Address;

    abi_filter_compile(table: Address, text: Address, out: Address): Status;
    abi_filter_free(filter: Address): void;
    abi_filter_count(filter: Address, count: Address): Status;
    abi_filter_rows(filter: Address, rows: Address, capacity: number, count: Address): Status;
    abi_filter_zones(filter: Address, holds: Address, zones: Address, capacity: number, count: Address): Status;

    abi_search(
        table: Address,
        column: Address,
        queries: Address,
        queryCount: number,
        k: number,
        ef: number,
        where: Address,
        filter: Address,
        select: Address,
        selectCount: number,
        at: number,
        exact: number,
        progress: number,
        out: Address,
    ): Status;
    abi_strategy_name(strategy: number): Address;
    abi_result_explain(result: Address, query: number): Address;
    abi_aggregate(
        table: Address,
        where: Address,
        aggregates: Address,
        count: number,
        groupBy: Address,
        top: number,
        orderBy: number,
        out: Address,
    ): Status;
    abi_top(
        table: Address,
        where: Address,
        column: Address,
        smallest: number,
        top: number,
        columns: Address,
        columnCount: number,
        out: Address,
    ): Status;

    abi_result_count(result: Address): number;
    abi_result_rows(result: Address): Address;
    abi_result_distances(result: Address): Address;
    abi_result_column_count(result: Address): number;
    abi_result_column(result: Address, index: number, values: Address): Status;
    abi_result_free(result: Address): void;

    abi_iterate(
        table: Address,
        has: number,
        ends: Address,
        start: Address,
        startBytes: number,
        end: Address,
        endBytes: number,
        columns: Address,
        columnCount: number,
        at: number,
        out: Address,
    ): Status;
    abi_iterator_next(iterator: Address, maxRows: number, out: Address): Status;
    abi_iterator_close(iterator: Address): void;

    abi_watch(db: Address, watcher: number): number;
    abi_unwatch(db: Address, subscription: number): void;
    abi_version(): Address;
}

/** What the module imports from "velta". */
export interface Imports {
    now(clock: number): number;
    clock(): number;
    execute(storage: number, kind: number, file: number, offset: number, size: number, buffer: Address): number;
    close_storage(storage: number): void;
    progress(id: number, done: number, total: number): number;
    change(watcher: number, change: Address): void;
}

/** Flags of `abi_open` and `abi_import`. */
export const OPEN_RELAXED = 1;
export const OPEN_READ_ONLY = 2;
export const OPEN_MUST_EXIST = 4;
export const OPEN_LOG_TAIL = 8;

/** A row number that means none. */
export const NO_ROW = 0xffffffff;
