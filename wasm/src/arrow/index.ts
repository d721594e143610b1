/**
 * The entry `velta/arrow`: Arrow IPC into tables and out of them.
 *
 * It goes with `velta`, whose classes it shares; `velta` does not need it.
 *
 * @packageDocumentation
 */
export {
    importArrow,
    type ArrowImportProgress,
    type ArrowImportResult,
    type ArrowSource,
    type ImportArrowOptions,
} from './import_arrow.js';
export {
    exportArrow,
    exportArrowStream,
    type ExportArrowOptions,
    type ExportArrowStreamOptions,
} from './export_arrow.js';
export { MemoryBudget, type Allocation, type BudgetStats } from '../ranges/memory_budget.js';
