/*
 * The packages in a velta store: with snapshot_worker.js, all that calls the library. The store lives in a
 * worker and keeps itself in this browser's storage (OPFS, or IndexedDB where there is none).
 *
 * Two tables. `packages` holds the rows and their vectors. `changes` tells what happened when: it is what the time
 * slider goes by, and it travels with a snapshot like everything else.
 */
import {
    VeltaError,
    and,
    between,
    count,
    deleteDatabase,
    eq,
    gte,
    inList,
    isNull,
    key,
    lt,
    openWorker,
    or,
    required,
    vector,
} from 'velta';
import { DIMENSIONS } from './encoder.js';
import { DEPENDS_CLASSES, NO_LANGUAGE, hasSize } from './view.js';

const NAME = 'velta-demo';
const BATCH = 1000;
/** How far a thumbs-up moves a vector of length 1 towards the query's. */
const STEP = 0.5;
/** Candidates that a search in the graph keeps: so many that a list changes only where something has changed. */
const CANDIDATES = 600;

const PACKAGES = /** @type {const} */ ({
    name: key('string'),
    section: required('string'),
    language: 'string',
    size: required('int'),
    installed_kb: required('int'),
    size_class: required('int'),
    depends: required('int'),
    summary: required('string'),
    embedding: vector(DIMENSIONS, { metric: 'cosine', element: 'f16', required: true }),
});

const CHANGES = /** @type {const} */ ({
    id: key('int'),
    time: required('timestamp'),
    kind: required('string'),
    package: 'string',
    query: 'string',
});

const SHOWN = /** @type {const} */ (['name', 'section', 'language', 'size', 'installed_kb', 'depends', 'summary']);

/**
 * @typedef {object} Change
 * @property {number} id
 * @property {Date} time what is searched at this time includes the change
 * @property {'load' | 'up' | 'undo'} kind
 * @property {string | null} package
 * @property {string | null} query
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
     * Puts the packages in, a batch at a time.
     * @param {import('./files.js').Package[]} packages
     * @param {Uint16Array} vectors float16 bits
     * @param {{ signal: AbortSignal, onProgress: (done: number, total: number) => void }} options
     */
    async load(packages, vectors, { signal, onProgress }) {
        for (let from = 0; from < packages.length; from += BATCH) {
            signal.throwIfAborted();
            const rows = packages.slice(from, from + BATCH);
            await this.#packages.insertColumns({
                name: rows.map((row) => row.name),
                section: rows.map((row) => row.section),
                language: rows.map((row) => row.language),
                size: rows.map((row) => row.size),
                installed_kb: rows.map((row) => row.installed_kb),
                size_class: rows.map((row) => Math.floor(Math.log2(Math.max(1, row.installed_kb)))),
                depends: rows.map((row) => row.depends),
                summary: rows.map((row) => row.summary),
                embedding: vectors.slice(from * DIMENSIONS, (from + rows.length) * DIMENSIONS),
            });
            onProgress(from + rows.length, packages.length);
        }
        signal.throwIfAborted();
        const { time } = await this.#database.stats();
        await this.#changes.insert({ id: 0, time: time ?? new Date(), kind: 'load', package: null, query: null });
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
     * The first packages that pass the filters, in the order of the data, and how many pass.
     * @param {View} view
     * @param {number} limit
     */
    async browse(view, limit) {
        const query = this.#packages.where(conditionOf(view));
        const [rows, matching] = await Promise.all([
            query
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
