/*
 * A naive model of a database: tables as lists of full copies of their rows, one copy after every change. It shares
 * nothing with the engine; f32 arithmetic is Math.fround, f16 a conversion of its own. What it says of the past:
 *
 *  - The state at a time is the copy after the last change that is not younger. Times never descend: a change's time is
 *    the latest of the clock, its own time stamp and the change before it.
 *  - A compaction keeps the copies from `keepSince` on, those that stood when a kept tag was set, and always the last;
 *    of what was forgotten before, nothing comes back. A time whose copy is forgotten is HISTORY_GONE.
 *  - Rows that live, and rows that a kept copy shows, keep their order through it and are numbered anew.
 *  - A row whose time to live is over is invisible at that moment, but lives until it is deleted or its key is used
 *    again.
 */
const fround = Math.fround;

/** The nearest half-precision number, ties to even; beyond 65519 infinite. */
export function half(value) {
    const size = Math.abs(value);
    if (!(size > 0) || size === Infinity) return value;
    if (size >= 65520) return value < 0 ? -Infinity : Infinity;
    const step = 2 ** (Math.max(Math.floor(Math.log2(size)), -14) - 10);
    const scaled = size / step; // exact: a power of two
    const floor = Math.floor(scaled);
    const rest = scaled - floor;
    const up = rest > 0.5 || (rest === 0.5 && floor % 2 === 1);
    const rounded = (floor + (up ? 1 : 0)) * step;
    return value < 0 ? -rounded : rounded;
}

/** The elements that a column keeps of a vector. */
export const kept = (column, values) =>
    Float32Array.from(values, column.element === 'f16' ? (value) => half(fround(value)) : fround);

/** A delta on a vector: the new vector, rounded as its column rounds. */
export function changed(column, before, operation) {
    const { type, mode } = operation;
    const after = Float32Array.from(before);
    const put = (i, value) => (after[i] = mode === 'set' ? value : fround(after[i] + value));
    if (type === 'sparse') operation.indices.forEach((place, i) => put(place, operation.values[i]));
    else if (type === 'dense') operation.vector.forEach((value, i) => put(i, value));
    else if (type === 'scale') after.forEach((value, i) => (after[i] = fround(value * fround(operation.factor))));
    else after.forEach((value, i) => (after[i] = fround(value + fround(operation.amount))));
    return kept(column, after);
}

export const isFinite32 = (vector) => vector.every((value) => Number.isFinite(value));

/** UTF-8's order, which is that of code points. */
export function compareKeys(a, b) {
    if (typeof a !== 'string') return a < b ? -1 : a > b ? 1 : 0;
    const [x, y] = [Array.from(a), Array.from(b)];
    for (let i = 0; i < x.length && i < y.length; i++) {
        const order = x[i].codePointAt(0) - y[i].codePointAt(0);
        if (order !== 0) return order;
    }
    return x.length - y.length;
}

/** What the model refuses, with the code that the engine must give and, where it is told, the offset. */
export class Refusal extends Error {
    constructor(code, offset) {
        super(code);
        this.code = code;
        this.offset = offset;
    }
}

/** Rows are never changed: { id, key, values, expiry, chains }, a chain being { item, before }. */
class ModelTable {
    constructor(model, name, columns) {
        this.model = model;
        this.name = name;
        this.columns = new Map(Object.entries(columns));
        this.keyName = [...this.columns].find(([, column]) => column.key)[0];
        this.states = [{ time: -Infinity, rows: new Map(), kept: true }];
        this.slots = []; // ids of rows by row number
        this.births = 0;
        this.compacted = -Infinity; // time of the first state that the last compaction kept of the unbroken past
    }

    get rows() {
        return this.states.at(-1).rows;
    }

    get liveCount() {
        return this.rows.size;
    }

    isVisible(row, moment) {
        return row !== undefined && row.expiry > moment;
    }

    visibleNow(key) {
        const row = this.rows.get(key);
        return this.isVisible(row, this.model.now) ? row : undefined;
    }

    /** The rows of a moment in row order; Refusal where that is forgotten. */
    at(time) {
        let state = this.states.at(-1);
        if (time !== undefined && time < this.model.lastTime) {
            state = this.states.findLast((one) => one.time <= time);
            if (!state.kept) throw new Refusal('HISTORY_GONE');
        }
        const moment = time ?? this.model.now;
        return [...state.rows.values()].filter((row) => this.isVisible(row, moment)).sort((a, b) => a.id - b.id);
    }

    number(row) {
        return this.slots.indexOf(row.id);
    }

    /** A new copy, to be changed, after a change of this time. */
    begin(time = this.model.now) {
        this.model.lastTime = Math.max(this.model.lastTime, time);
        const rows = new Map(this.rows);
        this.states.push({ time: this.model.lastTime, rows, kept: true });
        return rows;
    }

    born(rows, key, given) {
        const values = {};
        for (const [name, column] of this.columns) {
            const value = given[name] ?? null;
            values[name] = column.type === 'vector' && value !== null ? kept(column, value) : value;
        }
        const row = { id: this.births++, key, values, expiry: Infinity, chains: {} };
        row.birth = { id: null, time: this.model.lastTime };
        rows.delete(key);
        rows.set(key, row);
        this.slots.push(row.id);
        return row;
    }

    /** Sets columns of a row; a vector's setting is a delta of its chain. */
    set(rows, key, given) {
        const row = rows.get(key);
        const values = { ...row.values };
        const chains = { ...row.chains };
        for (const [name, value] of Object.entries(given)) {
            const column = this.columns.get(name);
            if (name === this.keyName) continue;
            values[name] = column.type === 'vector' && value !== null ? kept(column, value) : value;
            if (column.type !== 'vector') continue;
            const operation = { type: 'dense', vector: value ?? new Float32Array(0), mode: 'set' };
            chains[name] = { item: { id: null, time: this.model.lastTime, operation }, before: chains[name] };
        }
        rows.set(key, { ...row, values, chains });
    }

    // ---- writing; each throws a Refusal before it changes anything

    insert(list) {
        const seen = new Set();
        list.forEach((given, i) => {
            const key = given[this.keyName];
            if (this.visibleNow(key) || seen.has(key)) throw new Refusal('EXISTS', i);
            seen.add(key);
        });
        const first = this.slots.length;
        const rows = this.begin();
        for (const given of list) this.born(rows, given[this.keyName], given);
        return { firstRow: first, inserted: list.length, updated: 0 };
    }

    /** Of a key that comes twice the last values count, in the place of the first. */
    upsert(given) {
        const list = [...new Map(given.map((one) => [one[this.keyName], one])).values()];
        const fresh = new Set(list.filter((one) => !this.visibleNow(one[this.keyName])));
        const first = this.slots.length;
        const rows = this.begin();
        for (const one of list) {
            if (fresh.has(one)) this.born(rows, one[this.keyName], one);
            else this.set(rows, one[this.keyName], one);
        }
        const inserted = fresh.size;
        return { firstRow: inserted > 0 ? first : null, inserted, updated: given.length - inserted };
    }

    update(keys, list) {
        const absent = keys.findIndex((key) => !this.visibleNow(key));
        if (absent >= 0) throw new Refusal('NOT_FOUND', absent);
        const rows = this.begin();
        new Map(keys.map((key, i) => [key, list[i]])).forEach((given, key) => this.set(rows, key, given));
    }

    delete(keys) {
        const there = [...new Set(keys)].filter((key) => this.visibleNow(key));
        if (there.length === 0) return 0;
        const rows = this.begin();
        there.forEach((key) => rows.delete(key));
        return there.length;
    }

    expireAt(keys, times) {
        const absent = keys.findIndex((key) => !this.visibleNow(key));
        if (absent >= 0) throw new Refusal('NOT_FOUND', absent);
        const rows = this.begin();
        keys.forEach((key, i) => rows.set(key, { ...rows.get(key), expiry: times[i] ?? Infinity }));
    }

    expire(now = this.model.now) {
        const over = [...this.rows.values()].filter((row) => row.expiry <= now);
        if (over.length === 0) return 0;
        const rows = this.begin();
        over.forEach((row) => rows.delete(row.key));
        return over.length;
    }

    /**
     * Every delta is a state of its own; `ids` are the engine's. First it is seen whether each finds its row, then
     * whether all stay finite.
     */
    apply(name, deltas, ids = []) {
        const column = this.columns.get(name);
        const living = new Map();
        const lives = (key) => living.get(key) ?? this.visibleNow(key) !== undefined;
        deltas.forEach(({ key, operation }, i) => {
            const given = operation.type === 'create' || operation.type === 'dense' ? operation.vector.length : null;
            if (given !== null && given !== column.dimensions) throw new Refusal('DIMENSIONS', i);
            const isThere = lives(key);
            if (operation.type === 'create' && isThere) throw new Refusal('EXISTS', i);
            if (operation.type !== 'create' && !isThere) throw new Refusal('NOT_FOUND', i);
            if (operation.type === 'create') living.set(key, true);
            if (operation.type === 'delete') living.set(key, false);
        });
        const saved = { states: this.states.length, slots: this.slots.length, births: this.births };
        const lastTime = this.model.lastTime;
        const now = this.model.now;
        try {
            deltas.forEach((delta, i) => this.#applyOne(name, column, delta, now, i, ids[i]));
        } catch (refusal) {
            this.states.length = saved.states;
            this.slots.length = saved.slots;
            this.births = saved.births;
            this.model.lastTime = lastTime;
            throw refusal;
        }
    }

    #applyOne(name, column, { key, operation, metadata, timestamp }, now, i, id) {
        const rows = this.begin(timestamp ?? now);
        const time = this.model.lastTime;
        const details = { id, time, ...(metadata && { metadata }) };
        if (operation.type === 'delete') {
            rows.delete(key);
            return;
        }
        if (operation.type === 'create') {
            const row = this.born(rows, key, { [this.keyName]: key, [name]: operation.vector });
            row.birth = details;
            if (!metadata) return;
            // the metadata of a create is kept by a delta of its own that changes nothing
            const nothing = { type: 'sparse', indices: new Uint32Array(0), values: new Float32Array(0), mode: 'add' };
            row.chains = { [name]: { item: { ...details, id: id + 1, operation: nothing } } };
            return;
        }
        const row = rows.get(key);
        const before = row.values[name] ?? null;
        if (before === null) throw new Refusal('NOT_FOUND', i);
        const after = changed(column, before, operation);
        if (!isFinite32(after)) throw new Refusal('NOT_FINITE', i);
        const chain = { item: { ...details, operation }, before: row.chains[name] };
        rows.set(key, { ...row, values: { ...row.values, [name]: after }, chains: { ...row.chains, [name]: chain } });
    }

    addColumn(name, column) {
        this.model.lastTime = this.model.now;
        this.columns.set(name, column);
    }

    compact(since, tagged) {
        const last = this.states.length - 1;
        let from = last;
        if (since !== undefined) {
            from = this.states.findLastIndex((state) => state.time <= since);
            if (!this.states[from]?.kept) from = 0; // all that is still kept
        }
        this.states.forEach((state, i) => (state.kept &&= i >= from || tagged.includes(i)));
        this.states[last].kept = true;
        this.compacted = Math.max(this.compacted, this.states.find((state, i) => i >= from && state.kept).time);
        const shown = new Set();
        for (const state of this.states) {
            if (state.kept) for (const row of state.rows.values()) shown.add(row.id);
            else state.rows = null;
        }
        const dropped = this.slots.filter((id) => !shown.has(id)).length;
        this.slots = this.slots.filter((id) => shown.has(id));
        return dropped;
    }
}

export class Model {
    constructor(clock) {
        this.clock = clock;
        this.lastTime = -Infinity;
        this.tables = new Map();
        this.tags = new Map(); // name: { time, states: table => index of its state }
    }

    /** The time of what happens now. */
    get now() {
        return Math.max(this.clock.time, this.lastTime);
    }

    createTable(name, columns) {
        this.lastTime = this.now;
        const table = new ModelTable(this, name, columns);
        this.tables.set(name, table);
        return table;
    }

    dropTable(name) {
        this.lastTime = this.now;
        this.tables.delete(name);
    }

    tag(name) {
        this.lastTime = this.now;
        const states = new Map([...this.tables.values()].map((table) => [table, table.states.length - 1]));
        this.tags.set(name, { time: this.lastTime, states });
    }

    /** How many rows are dropped. */
    compact({ keepSince, keepTags = [] } = {}) {
        let dropped = 0;
        for (const table of this.tables.values()) {
            const tagged = keepTags.map((name) => this.tags.get(name).states.get(table) ?? 0);
            dropped += table.compact(keepSince === 'all' ? -Infinity : keepSince, tagged);
        }
        return dropped;
    }
}
