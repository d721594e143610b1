/**
 * The entry `velta/parquet`: Parquet files on a server, read by ranges.
 *
 * It goes with `velta`, whose error class it shares; `velta` does not need it.
 *
 * @packageDocumentation
 */
export { RangeClient, type RangeClientOptions, type RangeProbe, type RangeProgress } from '../ranges/range_client.js';
export type { RangeSource, RangeStats, ReadRangeOptions, Tail } from '../ranges/source.js';
export { MemoryBudget, type Allocation, type BudgetStats } from '../ranges/memory_budget.js';
export { detectCapabilities, type Capabilities } from '../ranges/capabilities.js';
export {
    StreamingParquetReader,
    type ParquetColumn,
    type ParquetMetadata,
    type ParquetReaderOptions,
    type ParquetSource,
    type ReadValuesOptions,
} from './streaming_parquet_reader.js';
export type { ParquetValues } from './pages.js';
export type { Decompressor } from './compression.js';
export { LateMaterializationExecutor } from './late_materialization.js';
export { importParquet, type ImportParquetOptions, type ImportProgress, type ImportResult } from './import_parquet.js';
