/*
 * The rows of the Parquet files that lib/parquet_files.mjs writes, as functions of their number.
 */
export const ROWS = 5000;
export const DIMENSIONS = 8;

/** Every column: the type that velta gives it, and row i's value as `readColumn` gives it. */
export const COLUMNS = {
    id: ['int', (i) => 9007199254740993n + BigInt(i)],
    small: ['int', (i) => BigInt(i % 100)],
    sorted: ['int', (i) => (i % 13 === 0 ? null : BigInt(i) - 2500n)],
    name: ['string', (i) => (i % 11 === 0 ? null : `name ${i % 50}`)],
    text: ['string', (i) => `row ${i} ü '€'`],
    price: ['float', (i) => i / 4],
    ratio: ['float', (i) => (i % 5 === 0 ? null : i / 8)],
    flag: ['bool', (i) => i % 3 === 0],
    at: ['timestamp', (i) => 1_600_000_000_000n + BigInt(i) * 60_001n],
    blob: ['bytes', (i) => (i % 17 === 0 ? null : Uint8Array.of(i & 255, 0, 255))],
    embedding: ['vector', (i) => Float32Array.from({ length: DIMENSIONS }, (_, j) => ((i * 7 + j * 3) % 64) / 8 - 4)],
};

/** Values of a column as a plain array, null for NULL, whatever form they came in. */
export function plain(values, type) {
    if (type === 'vector' && values instanceof Float32Array) {
        return Array.from({ length: values.length / DIMENSIONS }, (_, i) =>
            values.slice(i * DIMENSIONS, (i + 1) * DIMENSIONS),
        );
    }
    return Array.from(values, (value) => (type === 'bool' && typeof value === 'number' ? value === 1 : value));
}

export function expectedColumn(name, rows = Array.from({ length: ROWS }, (_, i) => i)) {
    return Array.from(rows, COLUMNS[name][1]);
}
