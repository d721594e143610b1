/*
 * The packages in a velta store: with schema.js and the workers, all that calls the library. The store lives in a
 * worker and keeps itself in this browser's storage (OPFS, or IndexedDB where there is none).
 *
 * Three tables (schema.js). `packages` holds the rows and their vectors, `source` where they came from. `changes` tells
 * what happened when: it is what the time slider goes by. All of it travels with a snapshot. The moment after each
 * change has a tag; a stream's history between its moments is let go when it has become large.
 */
import {
    SharedDeltaPool,
    VeltaError,
    and,
    between,
    count,
    deleteDatabase,
    eq,
    gte,
    inList,
    isNull,
    lt,
    openWorker,
    or,
} from 'velta';
import { DIMENSIONS } from './encoder.js';
import { CHANGES, NAME, PACKAGES, SOURCE } from './schema.js';
import { DEPENDS_CLASSES, NO_LANGUAGE, hasSize } from './view.js';

/** How far a thumbs-up moves a vector of length 1 towards the query's. */
const STEP = 0.5;
/** Candidates that a search in the graph keeps: so many that a list changes only where something has changed. */
const CANDIDATES = 600;
/** The name under which the store keeps the position of the simulated stream. */
const STREAM = 'simulation';
/** Deltas in one batch of the stream: so few that a search does not wait long behind one. */
const BATCH = 2048;
/** Bytes of history that a stream may add before what lies between the tags is let go; and its share of the budget. */
const MOST_HISTORY = { bytes: 128e6, share: 1 / 8 };
/** Milliseconds between two answers of a live search. */
const LIVE_INTERVAL = 500;

const SHOWN = /** @type {const} */ (['name', 'section', 'language', 'size', 'installed_kb', 'depends', 'summary']);

/**
 * @typedef {object} Change
 * @property {number} id
 * @property {Date} time what is searched at this time includes the change
 * @property {'load' | 'up' | 'undo' | 'stream' | 'unstream'} kind
 * @property {string | null} package
 * @property {string | null} query
 */

/**
 * @typedef {object} Source
 * @property {string | null} section null: all
 * @property {number} rows taken
 * @property {number} fileRows
 * @property {number} bytes fetched
 * @property {number} fileBytes
 * @property {number} requests
 */

/**
 * @typedef {import('./view.js').View} View
 * @typedef {'section' | 'language' | 'size_class' | 'depends'} Facet
 * @typedef {{ name: string, section: string, language: string | null, size: number, installed_kb: number,
 *     depends: number, summary: string, score: number | null }} Found
 */

/**
 * The filters of a view, without those of one facet, as text.
 * @param {View} view
 * @param {Facet} [except]
 */
export function conditionOf(view, except) {
    const parts = [];
    if (view.sections.length > 0 && except !== 'section') parts.push(inList('section', view.sections));
    if (view.languages.length > 0 && except !== 'language') {
        const named = view.languages.filter((language) => language !== NO_LANGUAGE);
        const either = named.length > 0 ? [inList('language', named)] : [];
        if (named.length < view.languages.length) either.push(isNull('language'));
        parts.push(or(...either));
    }
    if (view.depends.length > 0 && except !== 'depends') {
        const classes = view.depends.flatMap((index) => DEPENDS_CLASSES[index] ?? []);
        parts.push(
            or(...classes.map(({ from, to }) => (from === to ? eq('depends', from) : between('depends', from, to)))),
        );
    }
    if (hasSize(view) && except !== 'size_class') {
        parts.push(gte('installed_kb', 2 ** view.sizeFrom), lt('installed_kb', 2 ** (view.sizeTo + 1)));
    }
    return parts.length > 0 ? and(...parts).toString() : '';
}

/**
 * @typedef {object} StoreOptions
 * @property {number | null} memory most memory that the module may have, MiB
 * @property {'opfs' | 'indexeddb' | null} storage
 */

export class Store {
    /** @type {StoreOptions} */
    #options;
    /** @type {import('velta').RemoteDatabase} */
    #database;
    /** @type {import('velta').RemoteTable<typeof PACKAGES>} */
    #packages;
    /** @type {import('velta').RemoteTable<typeof CHANGES>} */
    #changes;
    /** @type {import('velta').RemoteTable<typeof SOURCE>} */
    #source;
    /** Bytes of history that the last compaction left. */
    #keptHistory = 0;
    /** The id of the stream that runs. @type {number | null} */
    #streaming = null;
    /** A compaction that is under way. @type {Promise<void> | null} */
    #trimming = null;

    /** @param {StoreOptions} options */
    static async open(options) {
        const store = new Store();
        store.#options = options;
        await store.#open();
        return store;
    }

    async #open() {
        const { storage } = this.#options;
        this.#database = await openWorker(NAME, { init: this.#init, ...(storage ? { storage } : {}) });
        this.#packages = await this.#database.table('packages', PACKAGES);
        this.#changes = await this.#database.table('changes', CHANGES);
        this.#source = await this.#database.table('source', SOURCE);
        this.#keptHistory = 0;
        await this.#endLostStream();
    }

    /** How the module is started, in the worker and here. */
    get #init() {
        return this.#options.memory ? { maxMemory: this.#options.memory * 2 ** 20 } : {};
    }

    get kind() {
        return this.#database.storage;
    }

    /** Where the files are, for the calls that work on a store that is not open. */
    get #place() {
        const storage = this.#database.storage;
        return storage === 'memory' ? {} : { storage };
    }

    /** True when all packages are there: the change `load` is written after the last of them. */
    async isLoaded() {
        return (await this.#changes.get(0)) !== null;
    }

    /**
     * Fills the empty store from the Parquet file. The load worker has the store meanwhile.
     * @param {import('./loading.js').Loader} loader
     * @param {string | null} section null: all
     */
    async load(loader, section) {
        const storage = this.#place;
        await this.close();
        try {
            await loader.load({ name: NAME, storage, init: this.#init, section });
        } finally {
            await this.#open();
        }
    }

    /**
     * Where the packages came from, and what it took; null: this is not known.
     * @returns {Promise<Source | null>}
     */
    async source() {
        const row = await this.#source.get(0);
        return (
            row && {
                section: row.section,
                rows: Number(row.rows),
                fileRows: Number(row.file_rows),
                bytes: Number(row.bytes_fetched),
                fileBytes: Number(row.file_bytes),
                requests: Number(row.requests),
            }
        );
    }

    /**
     * Links what the index does not hold yet. Searches find every row before that too; they scan the rest.
     * @param {(done: number, total: number) => void} onProgress
     */
    async link(onProgress) {
        await this.#database.index({ onProgress });
    }

    /**
     * The k nearest packages among those that pass the filters.
     * @param {Float32Array} query
     * @param {View} view
     * @param {number} k
     * @param {Date | null} at null: now
     */
    async search(query, view, k, at) {
        const found = await this.#packages.search(query, {
            k,
            ef: CANDIDATES,
            where: conditionOf(view),
            select: [...SHOWN],
            // The past is compared with the present place by place, so nothing in it is approximate.
            ...(at ? { at, exact: true } : {}),
        });
        const packages = found.map((hit) => /** @type {Found} */ ({ ...hit.values, score: hit.score }));
        return { packages, explain: found.explain };
    }

    /**
     * Like search, of now; the answer comes, and comes again whenever it has changed. Gives what ends it.
     * @param {Float32Array} query
     * @param {View} view
     * @param {number} k
     * @param {(answer: { packages: Found[], explain: import('velta').Explain }) => void} onAnswer
     * @param {(error: Error) => void} onError
     */
    async watch(query, view, k, onAnswer, onError) {
        const options = {
            ...{ k, ef: CANDIDATES, where: conditionOf(view), select: [...SHOWN] },
            interval: LIVE_INTERVAL,
        };
        return this.#packages.watch(query, options, (found, error) => {
            if (error) return onError(error);
            onAnswer({
                packages: found.map((hit) => /** @type {Found} */ ({ ...hit.values, score: hit.score })),
                explain: found.explain,
            });
        });
    }

    /**
     * The first packages that pass the filters, by name, and how many pass.
     * @param {View} view
     * @param {number} limit
     */
    async browse(view, limit) {
        const query = this.#packages.where(conditionOf(view));
        const [rows, matching] = await Promise.all([
            query
                .orderBy('place')
                .select(...SHOWN)
                .limit(limit)
                .toArray(),
            query.count(),
        ]);
        return { packages: rows.map((row) => /** @type {Found} */ ({ ...row, score: null })), matching };
    }

    /**
     * How many packages each value of a column has, under the filters of the other facets.
     * @param {Facet} facet
     * @param {View} view
     * @returns {Promise<Map<string | number | null, number>>}
     */
    async facet(facet, view) {
        const groups = await this.#packages.where(conditionOf(view, facet)).groupBy(facet, { n: count() });
        return new Map(groups.map((row) => [/** @type {string | number | null} */ (row.group), Number(row.n)]));
    }

    /**
     * @param {string} name
     * @param {Date | null} at null: now
     * @returns {Promise<Float32Array | null>} null when there is no such package
     */
    async vectorOf(name, at) {
        return this.#packages.vector(name, at ? { at } : {});
    }

    /**
     * Moves a package's vector towards a query's, or back again, and remembers the moment.
     * @param {string} name
     * @param {Float32Array} query
     * @param {string} text what was asked
     * @param {'up' | 'undo'} kind
     */
    async vote(name, query, text, kind) {
        const step = kind === 'up' ? STEP : -STEP;
        const operation = { type: /** @type {const} */ ('dense'), vector: query.map((value) => value * step) };
        const id = await this.#packages.apply(name, operation, { metadata: { kind, query: text } });
        const chain = await this.#packages.chain(name);
        const time = chain.find((item) => item.id === id)?.time ?? new Date();
        await this.#changes.insert({ id, time, kind, package: name, query: text });
        await this.#database.tag(String(id));
    }

    // ---- the stream

    /** Deltas of the simulated stream that were applied, ever. */
    async streamed() {
        return this.#packages.streamPosition(STREAM);
    }

    /**
     * Makes a pool whose other end, a producer's, `produce` gets, and applies what comes through it until the producer
     * ends it; the stream is a change, which ends with it.
     * @param {(what: { end: import('velta').PoolEnd, transfer: Transferable[], names: string[], dimensions: number,
     *     first: number }) => void} produce
     * @param {{ signal: AbortSignal, onProgress: (count: number) => void }} options count: deltas of this call so far
     */
    async stream(produce, { signal, onProgress }) {
        const names = /** @type {string[]} */ (await this.#packages.all().keys());
        const first = (await this.streamed()) + 1;
        const id = await this.#note('stream');
        const pool = new SharedDeltaPool();
        this.#streaming = id;
        try {
            produce({ ...pool.otherEnd(), names, dimensions: DIMENSIONS, first });
            await pool.drain(this.#packages, { stream: STREAM, batchSize: BATCH, signal, onProgress });
        } finally {
            pool.close();
            this.#streaming = null;
            // A compaction that is under way does not keep this stream's end.
            await this.#trimming?.catch(() => undefined);
            await this.#endStream(id);
        }
    }

    /**
     * Writes down that something begins to happen now, or has just happened.
     * @param {'stream' | 'unstream'} kind
     */
    async #note(kind) {
        const { time, sequence } = await this.#database.stats();
        // Deltas have numbers of the same row, so an id is used once.
        const id = sequence + 1;
        await this.#changes.insert({ id, time: time ?? new Date(), kind, package: null, query: null });
        return id;
    }

    /**
     * The stream's moment becomes the one after its last delta, and gets its tag.
     * @param {number} id
     */
    async #endStream(id) {
        const { time } = await this.#database.stats();
        await this.#changes.update(id, { time: time ?? new Date() });
        await this.#database.tag(String(id));
        await this.#database.flush();
    }

    /** A stream whose page went away has no tag yet. */
    async #endLostStream() {
        const last = (await this.changes()).at(-1);
        if (last?.kind !== 'stream') return;
        try {
            await this.#database.tagTime(String(last.id));
        } catch (error) {
            if (!(error instanceof VeltaError) || error.code !== 'NOT_FOUND') throw error;
            await this.#endStream(last.id);
        }
    }

    /** Sets every vector to what it was before the streams since the last other change: one change, all or none. */
    async undoStream() {
        const before = (await this.changes()).filter(({ kind }) => kind !== 'stream').at(-1);
        if (!before) return;
        // The undoing makes history of every vector, beside what the stream has left.
        await this.#letHistoryGo(null);
        const rows = await this.#packages.all().rows();
        const { embedding } = await this.#packages.getColumns(rows, ['embedding'], { at: before.time });
        const names = await this.#packages.all().keys();
        await this.#packages.updateMany(names, { embedding });
        const id = await this.#note('unstream');
        await this.#database.tag(String(id));
        await this.#database.flush();
    }

    /** Lets the history between the changes go when the stream that runs has made much of it. */
    async trimHistory() {
        if (this.#streaming === null || this.#trimming) return;
        this.#trimming = this.#trim(this.#streaming).finally(() => (this.#trimming = null));
        await this.#trimming;
    }

    /** @param {number} streaming id of the stream that runs */
    async #trim(streaming) {
        const { historyBytes, memoryBudgetBytes } = await this.#database.stats();
        const most = Math.min(MOST_HISTORY.bytes, memoryBudgetBytes * MOST_HISTORY.share);
        if (historyBytes - this.#keptHistory >= most) await this.#letHistoryGo(streaming);
    }

    /**
     * Only the moments of the changes stay.
     * @param {number | null} streaming id of the stream that runs, which has no moment yet
     */
    async #letHistoryGo(streaming) {
        const ended = (await this.changes()).filter(({ id }) => id !== streaming);
        await this.#database.compact({ keepTags: ended.map(({ id }) => String(id)) });
        this.#keptHistory = (await this.#database.stats()).historyBytes;
    }

    /**
     * What happened, oldest first.
     * @returns {Promise<Change[]>}
     */
    async changes() {
        return /** @type {Change[]} */ (await this.#changes.all().toArray());
    }

    async stats() {
        const [stats, log] = await Promise.all([this.#database.stats(), this.#database.log.status()]);
        return { stats, log };
    }

    /** All of it as one file. */
    async export() {
        return this.#database.export();
    }

    /**
     * Becomes what a snapshot holds. It is looked at first; one that is damaged or of something else changes nothing.
     * @param {Uint8Array} snapshot
     */
    async import(snapshot) {
        const worker = new Worker(new URL('snapshot_worker.js', import.meta.url), { type: 'module' });
        const ask = (/** @type {object} */ question) =>
            new Promise((resolve, reject) => {
                worker.onmessage = ({ data: { error } }) =>
                    error ? reject(VeltaError.fromJSON(error)) : resolve(null);
                worker.onerror = () => reject(new Error('the worker for snapshots did not start'));
                worker.postMessage(question);
            });
        try {
            await ask({ step: 'check', snapshot, init: this.#init });
            const storage = this.#place;
            await this.close();
            await ask({ step: 'restore', name: NAME, snapshot, storage }).finally(() => this.#open());
        } finally {
            worker.terminate();
        }
    }

    /** Deletes everything, and leaves an empty store. */
    async reset() {
        await this.remove();
        await this.#open();
    }

    /** Deletes everything. */
    async remove() {
        const place = this.#place;
        await this.close();
        await deleteDatabase(NAME, place);
    }

    async close() {
        await this.#database.close();
    }
}
