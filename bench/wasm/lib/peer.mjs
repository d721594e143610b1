/*
 * Native hnswlib in its own process (bench/wasm/peer.cpp), asked a line at a time, and the data both sides run on.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

export const buildFolder = resolve(process.env.VELTA_BUILD || 'build');
export const benchFolder = join(buildFolder, 'bench');
export const neighbours = 10;
export const shares = [0.9, 0.5, 0.1, 0.01, 0.001, 0.0001];
export const places = ['random', 'near', 'far'];

export class NativePeer {
    #process;
    #waiting = [];
    #stopped = false;

    constructor(dataset) {
        const program = join(benchFolder, 'peer');
        if (!existsSync(program)) throw new Error(`${program} is missing: make bench builds it`);
        this.dataset = dataset;
        this.#process = spawn(program, [dataset], { stdio: ['pipe', 'pipe', 'inherit'] });
        createInterface({ input: this.#process.stdout }).on('line', (line) => this.#waiting.shift()?.resolve(line));
        this.#process.on('exit', () => {
            this.#stopped = true;
            for (const { reject } of this.#waiting.splice(0)) reject(new Error('the native peer stopped'));
        });
    }

    ask(...words) {
        return new Promise((resolve, reject) => {
            if (this.#stopped) return reject(new Error('the native peer stopped'));
            this.#waiting.push({ resolve, reject });
            this.#process.stdin.write(words.join(' ') + '\n');
        });
    }

    /** Asks and reads numbers. */
    async numbers(...words) {
        return (await this.ask(...words)).split(' ').map(Number);
    }

    /** Vectors, queries and what counts as found, as the native measurements have them. */
    async data() {
        const folder = this.folder('data');
        const [rows, queries, dimensions] = await this.numbers('dump', folder);
        return {
            name: this.dataset,
            rows,
            queries,
            dimensions,
            base: new Float32Array(bytesOf(join(folder, 'base.f32'))),
            query: new Float32Array(bytesOf(join(folder, 'query.f32'))),
            least: new Float64Array(bytesOf(join(folder, 'least.f64'))),
        };
    }

    /** A folder for what passes between the two. */
    folder(name) {
        const folder = join(benchFolder, 'results', `${this.dataset}-${name}`);
        mkdirSync(folder, { recursive: true });
        return folder;
    }

    /** One search round: seconds, and ten rows a query. */
    async search(ef, first, end) {
        const [seconds, ...found] = await this.numbers('search', ef, first, end);
        return { seconds, found };
    }

    close() {
        this.#process.stdin.end();
    }
}

export function bytesOf(path) {
    const file = readFileSync(path);
    return file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength);
}

export function queryOf(data, query) {
    return data.query.subarray(query * data.dimensions, (query + 1) * data.dimensions);
}

/** How many of the rows found count, as a share of those findable: similarity at least `least`, to 1e-6. */
export function recallOf(data, query, found, least, findable = neighbours) {
    const n = data.dimensions;
    let right = 0;
    for (const row of found) {
        let sum = 0;
        for (let i = 0; i < n; i++) sum += data.query[query * n + i] * data.base[row * n + i];
        if (sum >= least - 1e-6) right++;
    }
    return Math.min(right, findable) / findable;
}

/** `found`: ten rows a query, one query after the other. */
export function meanRecall(data, found) {
    let sum = 0;
    for (let q = 0; q < data.queries; q++)
        sum += recallOf(data, q, found.slice(q * neighbours, (q + 1) * neighbours), data.least[q]);
    return sum / data.queries;
}
