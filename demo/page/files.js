/* Fetching the encoder's files, and reading their formats. */
import { Encoder } from './encoder.js';

/**
 * The bytes of a file of this site.
 * @param {string} path
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
async function fetchBytes(path) {
    const response = await fetch(path);
    if (!response.ok) throw new Error(`${path} cannot be had (${response.status})`);
    return new Uint8Array(await response.arrayBuffer());
}

/**
 * The numbers of a NumPy file: little endian, in C order.
 * @param {Uint8Array<ArrayBuffer>} file
 * @returns {Float32Array | Int8Array}
 */
export function readNpy(file) {
    const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
    if (view.getUint32(0) !== 0x934e554d) throw new Error('this is no NumPy file');
    const start = 10 + view.getUint16(8, true);
    const header = new TextDecoder('latin1').decode(file.subarray(10, start));
    const type = /'descr': '(.+?)'/.exec(header)?.[1];
    const data = file.buffer.slice(file.byteOffset + start, file.byteOffset + file.byteLength);
    if (type === '<f4') return new Float32Array(data);
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
