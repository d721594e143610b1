/* Fetching the data's files, and reading their formats. */
import { Encoder } from './encoder.js';
import { NO_LANGUAGE } from './view.js';

/**
 * @typedef {object} Package one row of rows.jsonl
 * @property {string} name
 * @property {string} section
 * @property {string | null} language
 * @property {number} size bytes to download
 * @property {number} installed_kb
 * @property {number} depends
 * @property {string} summary
 */

/**
 * The bytes of a file of this site.
 * @param {string} path
 * @param {{ signal?: AbortSignal, onSize?: (bytes: number) => void, onBytes?: (more: number) => void }} [options]
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export async function fetchBytes(path, { signal, onSize, onBytes } = {}) {
    const response = await fetch(path, { signal: signal ?? null });
    if (!response.ok || !response.body) throw new Error(`${path} cannot be had (${response.status})`);
    onSize?.(Number(response.headers.get('content-length')));
    const parts = [];
    let size = 0;
    const reader = response.body.getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
        parts.push(part.value);
        size += part.value.length;
        onBytes?.(part.value.length);
    }
    const bytes = new Uint8Array(size);
    let offset = 0;
    for (const part of parts) {
        bytes.set(part, offset);
        offset += part.length;
    }
    return bytes;
}

/**
 * The numbers of a NumPy file: little endian, in C order.
 * @param {Uint8Array<ArrayBuffer>} file
 * @returns {Float32Array | Uint16Array | Int8Array} float16 as its bits
 */
export function readNpy(file) {
    const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
    if (view.getUint32(0) !== 0x934e554d) throw new Error('this is no NumPy file');
    const start = 10 + view.getUint16(8, true);
    const header = new TextDecoder('latin1').decode(file.subarray(10, start));
    const type = /'descr': '(.+?)'/.exec(header)?.[1];
    const data = file.buffer.slice(file.byteOffset + start, file.byteOffset + file.byteLength);
    if (type === '<f4') return new Float32Array(data);
    if (type === '<f2') return new Uint16Array(data);
    if (type === '|i1') return new Int8Array(data);
    throw new Error(`NumPy files of type ${type} are not read here`);
}

/** @param {Uint8Array<ArrayBuffer>} bytes */
function readLines(bytes) {
    return new TextDecoder()
        .decode(bytes)
        .split('\n')
        .filter((line) => line !== '');
}

/**
 * The packages and, float16 bits one after the other, their vectors.
 * @param {{ signal: AbortSignal, onSize: (bytes: number) => void, onBytes: (more: number) => void }} options
 * @returns {Promise<{ packages: Package[], vectors: Uint16Array }>}
 */
export async function fetchPackages(options) {
    const [rows, vectors] = await Promise.all([
        fetchBytes('data/rows.jsonl', options),
        fetchBytes('data/vectors.npy', options),
    ]);
    const packages = readLines(rows).map((line) => /** @type {Package} */ (JSON.parse(line)));
    for (const row of packages) {
        // Languages are written small; a tag in capitals is Debian's way to say that no one has looked yet.
        if (row.language !== null && row.language !== row.language.toLowerCase()) row.language = null;
        if (row.language === NO_LANGUAGE) row.language = null;
    }
    return { packages, vectors: /** @type {Uint16Array} */ (readNpy(vectors)) };
}

/** @returns {Promise<Encoder>} */
export async function fetchEncoder() {
    const [terms, stopWords, weights, projection] = await Promise.all(
        ['terms.txt', 'stop_words.json', 'weights.npy', 'projection.npy'].map((name) => fetchBytes(`encoder/${name}`)),
    );
    if (!terms || !stopWords || !weights || !projection) throw new Error('a file of the encoder is missing');
    return new Encoder(
        readLines(terms),
        JSON.parse(new TextDecoder().decode(stopWords)),
        /** @type {Float32Array} */ (readNpy(weights)),
        /** @type {Int8Array} */ (readNpy(projection)),
    );
}
