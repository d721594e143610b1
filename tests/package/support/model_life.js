/*
 * Random lives of a database, on the engine and on the model (model.js) step by step; what they say must be equal.
 *
 * `liveOnce(velta, { seed, steps, reopen })` gives { steps, searches, hits, wanted }, or throws a Difference. Each
 * step's numbers come from the seed and the step alone, so steps can be left out (`without`) to find a shorter life
 * that shows the same. `reopen(db, options)` puts another Database with the same content in the place of `db`; with
 * null it makes the first.
 *
 * Values and vectors are compared exactly. Distances are compared with those of a loop over doubles within TOLERANCE
 * times the sum of the sizes of what was added up; rows whose distances differ by less may stand in any order.
 */
import { Model, Refusal, changed, compareKeys, kept } from './model.js';
import { randomFrom } from './random.js';
import { predicate } from './model_filter.js';

const TOLERANCE = 2e-6;
const START = 1_700_000_000_000;
const KEYS = 36;
const TEXTS = ['', 'a', 'ab', 'abc', 'b', '%', "it's", 'caf\u00e9', '\u65e5\u672c', '\u{1F600}', 'x'.repeat(3000)];
const INTS = [0n, 1n, -1n, 127n, -129n, 40000n, 2n ** 31n, 2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n) - 1n].concat([
    2n ** 63n - 1n,
    -(2n ** 63n),
    5n,
    5n,
    7n,
]);
const FLOATS = [0, -0, 0.5, -2.25, 7, 1e300, -1e-310, Infinity, -Infinity, NaN, 2 ** 53, 1 / 3];

export class Difference extends Error {}

const show = (value) =>
    JSON.stringify(value, (_, one) =>
        typeof one === 'bigint'
            ? `${one}n`
            : ArrayBuffer.isView(one)
              ? Array.from(one)
              : one instanceof Map
                ? [...one]
                : Object.is(one, -0)
                  ? '-0'
                  : typeof one === 'number' && !Number.isFinite(one)
                    ? String(one)
                    : one,
    )?.slice(0, 1500);

/** What is being done, in words that are put together when somebody reads them. */
class Words {
    constructor(parts, values) {
        this.parts = parts;
        this.values = values;
    }

    toString() {
        const told = (value) => (typeof value === 'object' && !(value instanceof Words) ? show(value) : String(value));
        return String.raw({ raw: this.parts }, ...this.values.map(told));
    }
}
const say = (parts, ...values) => new Words(parts, values);

/** Equal to the last bit; ints beyond 2^53 are bigints, others numbers. */
function same(a, b) {
    if (typeof b === 'bigint') {
        const isSafe = b >= BigInt(Number.MIN_SAFE_INTEGER) && b <= BigInt(Number.MAX_SAFE_INTEGER);
        return typeof a === (isSafe ? 'number' : 'bigint') && BigInt(a) === b;
    }
    if (typeof b !== 'object' || b === null) return Object.is(a, b);
    if (typeof a !== 'object' || a === null) return false;
    if (b instanceof Date) return a instanceof Date && a.getTime() === b.getTime();
    if (a.constructor !== b.constructor) return false;
    if (Array.isArray(b) || ArrayBuffer.isView(b)) return a.length === b.length && b.every((v, i) => same(a[i], v));
    const names = Object.keys(b);
    return Object.keys(a).length === names.length && names.every((name) => same(a[name], b[name]));
}

function must(condition, text) {
    if (!condition) throw new Difference(typeof text === 'function' ? text() : text);
}
const equal = (what, actual, expected) =>
    must(same(actual, expected), () => `${what}: velta says ${show(actual)}, the model ${show(expected)}`);

function distanceOf(metric, a, b) {
    let [ab, aa, bb, l2, size] = [0, 0, 0, 0, 0];
    for (let i = 0; i < a.length; i++) {
        ab += a[i] * b[i];
        aa += a[i] * a[i];
        bb += b[i] * b[i];
        l2 += (a[i] - b[i]) ** 2;
        size += Math.abs(a[i] * b[i]);
    }
    if (metric === 'l2') return { distance: l2, slack: TOLERANCE * l2 };
    if (metric === 'dot') return { distance: -ab, slack: TOLERANCE * size };
    // f32 loses the squares of very short vectors: they are not compared
    const isShort = (square) => square !== 0 && square < 1e-30;
    if (isShort(aa) || isShort(bb)) return null;
    return { distance: aa > 0 && bb > 0 ? 1 - ab / Math.sqrt(aa * bb) : 1, slack: 2 * TOLERANCE };
}

class Life {
    constructor(velta, { seed, reopen, log }) {
        this.velta = velta;
        this.random = randomFrom(seed);
        this.clock = { time: START, now: () => this.clock.time };
        this.model = new Model(this.clock);
        this.reopenWith = reopen;
        this.log = log;
        this.counts = { steps: 0, searches: 0, hits: 0, wanted: 0 };
        this.options = { now: this.clock.now, chainInterval: 1 + this.random.below(6), autoIndex: false };
        this.keyType = this.random.pick(['int', 'string']);
        this.metrics = [0, 1].map(() => this.random.pick(['cosine', 'l2', 'dot']));
        this.m = this.random.pick([4, 6, 16]);
    }

    async open() {
        this.db = await this.reopenWith(null, this.options);
        this.create('main');
    }

    get table() {
        return this.db.table(this.modelled.name);
    }

    create(name) {
        const { key, vector } = this.velta;
        const [v, h] = this.metrics;
        const columns = {
            id: key(this.keyType),
            ...{ n: 'int', f: 'float', b: 'bool', s: 'string', t: 'timestamp', y: 'bytes' },
            v: vector(8, { metric: v, m: this.m, efConstruction: 20 }),
            h: vector(5, { metric: h, m: this.m, element: 'f16' }),
        };
        this.db.table(name, columns);
        const full = (column) => (typeof column === 'string' ? { type: column } : column);
        const named = Object.entries(columns).map(([column, definition]) => [column, full(definition)]);
        this.modelled = this.model.createTable(name, Object.fromEntries(named));
    }

    // ---- random values

    key() {
        const number = this.random.below(KEYS);
        if (this.keyType === 'string') return number < TEXTS.length - 1 ? TEXTS[number] : `key-${number * 7919}`;
        return number === 0 ? 2n ** 63n - 1n : number === 1 ? -(2n ** 53n) - 3n : BigInt(number * 5 - 60);
    }

    keys(most) {
        const keys = new Set();
        for (let i = 1 + this.random.below(most); i > 0; i--) keys.add(this.key());
        return [...keys];
    }

    livingKey() {
        const rows = this.modelled.at();
        return rows.length > 0 && this.random.chance(0.95) ? this.random.pick(rows).key : this.key();
    }

    value(column) {
        const { random } = this;
        if (!column.key && random.chance(0.12)) return null;
        switch (column.type) {
            case 'int':
                return random.chance(0.4) ? random.pick(INTS) : BigInt(random.below(40) - 20);
            case 'float':
                return random.chance(0.4) ? random.pick(FLOATS) : (random.below(80) - 40) / 4;
            case 'bool':
                return random.chance(0.5);
            case 'string':
                return random.chance(0.5) ? random.pick(TEXTS) : `text ${random.below(12)}`;
            case 'timestamp':
                return new Date(START + random.below(100) - 50);
            case 'bytes':
                return Uint8Array.from({ length: random.below(5) }, () => random.below(256));
            default:
                return random.vector(column.dimensions);
        }
    }

    /** Values of some columns, one at least. */
    someValues(share) {
        const columns = [...this.modelled.columns].filter(([, column]) => !column.key);
        const values = {};
        for (const [name, column] of columns) if (this.random.chance(share)) values[name] = this.value(column);
        const [name, column] = this.random.pick(columns);
        if (Object.keys(values).length === 0) values[name] = this.value(column);
        return values;
    }

    vectorColumn() {
        return this.random.pick([...this.modelled.columns].filter(([, { type }]) => type === 'vector'));
    }

    operation(column) {
        const { random } = this;
        const { dimensions } = column;
        const mode = random.chance(0.4) ? 'set' : 'add';
        const kind = random.below(20);
        if (kind < 8) {
            const indices = Uint32Array.from({ length: dimensions }, (_, i) => i).filter(() => random.chance(0.3));
            return { type: 'sparse', indices, values: random.vector(indices.length), mode };
        }
        if (kind < 11) return { type: 'dense', vector: random.vector(random.chance(0.02) ? 3 : dimensions), mode };
        if (kind < 14) return { type: 'scale', factor: random.pick([0.5, -1, 1.5, 0.1, 2, 0, 30]) };
        if (kind < 17) return { type: 'offset', amount: random.pick([0.25, -1, random.normal(), 0.1]) };
        return kind < 19 ? { type: 'create', vector: random.vector(dimensions) } : { type: 'delete' };
    }

    delta(column) {
        const { random } = this;
        const operation = this.operation(column);
        const metadata = { n: random.below(9), s: random.pick(TEXTS.slice(0, 9)), deep: [1, null, { x: 0.5 }] };
        return {
            key: operation.type === 'create' && random.chance(0.8) ? this.key() : this.livingKey(),
            operation,
            ...(operation.type !== 'delete' && random.chance(0.2) && { metadata }),
            ...(random.chance(0.1) && { timestamp: this.clock.time + random.below(60) - 40 }),
        };
    }

    /** A time to ask for: about a change's, a tag's, before all, or later. */
    time() {
        const { random, modelled, model } = this;
        if (random.chance(0.4)) return undefined;
        if (random.chance(0.1)) return this.clock.time + random.below(200);
        if (random.chance(0.05)) return START - 1000;
        if (random.chance(0.2) && model.tags.size > 0) return random.pick([...model.tags.values()]).time;
        const { time } = random.pick(modelled.states.slice(-80));
        return Math.max(time, START - 5) + random.below(3) - 1;
    }

    filter() {
        return this.random.chance(0.3) ? null : predicate(this.random, this.modelled.columns, (c) => this.value(c));
    }

    // ---- both sides

    /** Runs both; what one refuses the other must refuse. The model gets what velta gave. */
    both(what, ask, expect) {
        this.log?.push(`${what} (time ${this.clock.time - START})`);
        let [result, error, expected, refusal] = [];
        try {
            result = ask();
        } catch (thrown) {
            if (!(thrown instanceof this.velta.VeltaError)) throw thrown;
            error = thrown;
        }
        try {
            expected = expect(result);
        } catch (thrown) {
            if (!(thrown instanceof Refusal)) throw thrown;
            refusal = thrown;
        }
        const told = (one) => (one ? `${one.code} at ${one.offset}` : 'nothing wrong');
        const isOffsetRight = refusal?.offset === undefined || error?.offset === refusal.offset;
        must(error?.code === refusal?.code && isOffsetRight, () => {
            return `${what}: velta says ${told(error)} (${error?.message}), the model ${told(refusal)}`;
        });
        return { result, expected, refused: refusal !== undefined };
    }

    write(what, ask, expect) {
        const { result, expected, refused } = this.both(what, ask, expect);
        if (!refused && typeof expected === 'number') equal(what, result, expected);
        if (!refused && typeof expected === 'object') {
            for (const [name, value] of Object.entries(expected)) equal(say`${what}: ${name}`, result[name], value);
        }
        this.checkCounts();
    }

    checkCounts() {
        equal('rowCount', this.table.rowCount, this.modelled.slots.length);
        equal('liveCount', this.table.liveCount, this.modelled.liveCount);
    }

    // ---- steps that write

    insert() {
        const list = this.keys(4).filter((key) => this.random.chance(0.1) || !this.modelled.visibleNow(key));
        const rows = list.map((id) => ({ id, ...this.someValues(0.85) }));
        if (rows.length === 0) return;
        this.write(
            say`insert ${rows}`,
            () => this.table.insert(rows),
            () => this.modelled.insert(rows),
        );
    }

    upsert() {
        const shape = Object.keys(this.someValues(0.5));
        const keys = Array.from({ length: 1 + this.random.below(4) }, () => this.key());
        const rows = keys.map((id) => {
            const values = shape.map((name) => [name, this.value(this.modelled.columns.get(name))]);
            return { id, ...Object.fromEntries(values) };
        });
        this.write(
            say`upsert ${rows}`,
            () => this.table.upsert(rows),
            () => this.modelled.upsert(rows),
        );
    }

    update() {
        const key = this.livingKey();
        const values = this.someValues(0.3);
        const change = () => void this.table.update(key, values);
        const expect = () => {
            try {
                this.modelled.update([key], [values]);
            } catch (refusal) {
                throw refusal instanceof Refusal ? new Refusal(refusal.code) : refusal;
            }
        };
        this.write(say`update ${[key, values]}`, change, expect);
    }

    updateMany() {
        const keys = this.keys(4).map((key) => (this.random.chance(0.8) ? this.livingKey() : key));
        const [name, column] = this.random.pick([...this.modelled.columns].filter(([, one]) => !one.key));
        const values = keys.map(() => this.value(column));
        const change = () => void this.table.updateMany(keys, { [name]: values });
        const rows = values.map((value) => ({ [name]: value }));
        this.write(say`updateMany ${[keys, rows]}`, change, () => this.modelled.update(keys, rows));
    }

    apply() {
        const [name, column] = this.vectorColumn();
        const { key, operation, metadata, timestamp } = this.delta(column);
        const options = { column: name, ...(metadata && { metadata }), ...(timestamp && { timestamp }) };
        const ask = () => this.table.apply(key, operation, options);
        const expect = (id) => this.modelled.apply(name, [{ key, operation, metadata, timestamp }], [id]);
        this.write(say`apply ${[key, operation, options]}`, ask, expect);
    }

    applyAll() {
        const [name, column] = this.vectorColumn();
        const deltas = Array.from({ length: 1 + this.random.below(12) }, () => this.delta(column));
        if (this.random.chance(0.7)) this.makeRight(name, deltas);
        if (deltas.length === 0) return;
        const ask = () => this.table.applyAll(deltas, { column: name });
        this.write(say`applyAll ${name} ${deltas}`, ask, (ids) => this.modelled.apply(name, deltas, ids));
    }

    /** Leaves out of a batch what would be refused for its key. */
    makeRight(name, deltas) {
        const lives = new Map();
        const right = deltas.filter(({ key, operation: { type } }) => {
            const row = this.modelled.visibleNow(key);
            const isThere = lives.get(key) ?? (row !== undefined && (type === 'delete' || row.values[name] !== null));
            if ((type === 'create') === isThere) return false;
            if (type === 'create' && row && !lives.has(key)) return false;
            if (type === 'create' || type === 'delete') lives.set(key, type === 'create');
            return true;
        });
        deltas.splice(0, deltas.length, ...right);
    }

    delete() {
        const keys = this.keys(3);
        this.write(
            say`delete ${keys}`,
            () => this.table.delete(keys),
            () => this.modelled.delete(keys),
        );
    }

    expireAt() {
        const keys = [...new Set(this.keys(3).map(() => this.livingKey()))];
        const times = keys.map(() => (this.random.chance(0.2) ? null : this.clock.time + this.random.below(900) - 20));
        const set = () => this.table.expireAt(keys, times);
        this.write(say`expireAt ${[keys, times]}`, set, () => this.modelled.expireAt(keys, times));
    }

    expire() {
        const now = this.random.chance(0.3) ? this.clock.time + this.random.below(100) - 50 : undefined;
        this.write(
            say`expire ${now}`,
            () => this.table.expire(now),
            () => this.modelled.expire(now),
        );
    }

    tag() {
        const name = `tag ${this.random.below(4)}`;
        this.write(
            name,
            () => this.db.tag(name),
            () => this.model.tag(name),
        );
        equal(name, this.db.tagTime(name).getTime(), this.model.tags.get(name).time);
    }

    compact() {
        const { random, model } = this;
        const keepTags = [...model.tags.keys()].filter(() => random.chance(0.5));
        const since = random.chance(0.2) ? 'all' : random.chance(0.4) ? undefined : (this.time() ?? this.clock.time);
        const options = { keepTags, ...(since !== undefined && { keepSince: since }) };
        const compact = () => this.db.compact(options).rowsDropped;
        this.write(say`compact ${options}`, compact, () => model.compact(options));
    }

    link() {
        const most = this.random.chance(0.5) ? undefined : 1 + this.random.below(20);
        this.write(
            say`linkPending ${most}`,
            () => void this.db.linkPending(most),
            () => undefined,
        );
    }

    async verify() {
        this.log?.push('verify');
        await this.db.verify();
    }

    async reopen() {
        this.log?.push('reopen');
        this.db = await this.reopenWith(this.db, this.options);
        this.checkCounts();
        this.askAll();
    }

    addColumn() {
        const { modelled, random } = this;
        if (modelled.columns.size > 13) return;
        const name = `x${modelled.columns.size}`;
        const type = random.pick(['int', 'float', 'bool', 'string', 'timestamp', 'bytes', 'vector', 'vector']);
        const element = random.pick(['f32', 'f16']);
        const column = type === 'vector' ? this.velta.vector(4, { metric: 'l2', element, index: false }) : { type };
        const add = () => this.table.addColumn(name, column);
        this.write(say`addColumn ${name} ${column}`, add, () => modelled.addColumn(name, column));
    }

    otherTable() {
        const names = [...this.model.tables.keys()];
        if (names.length < 2) {
            this.log?.push('create another table');
            this.create(names[0] === 'main' ? 'other' : 'main');
        } else if (this.random.chance(0.15)) {
            this.log?.push(`drop ${this.modelled.name}`);
            this.db.dropTable(this.modelled.name);
            this.model.dropTable(this.modelled.name);
            [this.modelled] = this.model.tables.values();
        } else {
            this.log?.push('the other table');
            this.modelled = [...this.model.tables.values()].find((table) => table !== this.modelled);
        }
        this.checkCounts();
    }

    // ---- steps that ask

    values(row, columns) {
        return Object.fromEntries(columns.map((name) => [name, row.values[name] ?? null]));
    }

    rows(at) {
        const { modelled } = this;
        const columns = [...modelled.columns.keys()];
        const keys = Array.from({ length: 6 }, () => this.key()).concat(modelled.at().map(({ key }) => key));
        const options = at === undefined ? {} : { at };
        const { result, expected, refused } = this.both(
            say`getMany at ${at}`,
            () => this.table.getMany(keys, options),
            () => modelled.at(at),
        );
        if (refused) return;
        const byKey = new Map(expected.map((row) => [row.key, row]));
        keys.forEach((key, i) => {
            const row = byKey.get(key);
            equal(say`the row ${key} at ${at}`, result[i], row ? this.values(row, columns) : null);
        });
        const numbers = Uint32Array.from(expected, (row) => modelled.number(row));
        const found = this.table.getRows(numbers, options);
        expected.forEach((row, i) => equal(say`row ${numbers[i]} at ${at}`, found[i], this.values(row, columns)));
        if (expected.length === 0) return;
        const row = this.random.pick(expected);
        equal(say`rowOf at ${at}`, this.table.rowOf(row.key, at), modelled.number(row));
        const [name] = this.vectorColumn();
        equal(say`vector ${name}`, this.table.vector(row.key, { column: name, ...options }), row.values[name] ?? null);
    }

    filtered() {
        const filter = this.filter();
        const { modelled } = this;
        const rows = modelled.at().filter((row) => !filter || filter.test(row.values));
        const query = filter ? this.table.where(filter.text) : this.table.all();
        const what = say`where ${filter?.text}`;
        this.log?.push(String(what));
        equal(say`${what}: count`, query.count(), rows.length);
        equal(
            what,
            query.rows(),
            Uint32Array.from(rows, (row) => modelled.number(row)),
        );
        const columns = ['id', 'n', 's'];
        equal(
            what,
            query.select(...columns).toArray(),
            rows.map((row) => this.values(row, columns)),
        );
    }

    iterate() {
        const at = this.time();
        const [a, b] = [this.key(), this.key()].sort(compareKeys);
        const range = { ...(this.random.chance(0.7) && { start: a }), ...(this.random.chance(0.7) && { end: b }) };
        const columns = ['id', 'f', 'h'];
        const { result, expected, refused } = this.both(
            say`iterate ${range} at ${at}`,
            () => [...this.table.iterate({ ...range, columns, ...(at !== undefined && { at }) })],
            () => this.modelled.at(at),
        );
        if (refused) return;
        const within = expected
            .filter(({ key }) => !('start' in range) || compareKeys(key, a) >= 0)
            .filter(({ key }) => !('end' in range) || compareKeys(key, b) < 0)
            .sort((x, y) => compareKeys(x.key, y.key));
        equal(
            say`iterate ${range} at ${at}`,
            result,
            within.map((row) => this.values(row, columns)),
        );
    }

    search() {
        const { random, modelled, counts } = this;
        const [name, column] = this.vectorColumn();
        const query = random.vector(column.dimensions);
        const [at, filter] = [this.time(), this.filter()];
        const k = random.chance(0.2) ? 100 : 1 + random.below(12);
        const exact = random.chance(0.6);
        const options = {
            column: name,
            k,
            exact,
            ...(at !== undefined && { at }),
            ...(filter && { where: filter.text }),
        };
        const what = say`search ${[query, options]}`;
        const { result, expected, refused } = this.both(
            what,
            () => this.table.search(query, options),
            () => modelled.at(at).filter((row) => !filter || filter.test(row.values)),
        );
        if (refused) return;
        const all = expected.filter((row) => row.values[name]);
        const metric = column.metric ?? 'cosine';
        const right = new Map(all.map((row) => [row.key, distanceOf(metric, query, row.values[name])]));
        equal(say`${what}: how many`, result.length, Math.min(k, all.length));
        equal(say`${what}: explain`, result.explain.matchingRows, expected.length);
        const found = new Set();
        let last = -Infinity;
        for (const { key, row, distance } of result) {
            const id = this.keyType === 'int' ? BigInt(key) : key;
            const truth = right.get(id);
            must(right.has(id) && !found.has(id), () => `${what}: ${show(key)} is none of those that match`);
            equal(say`${what}: its row`, row, modelled.number(all.find((one) => one.key === id)));
            must(distance >= last, () => `${what}: distance ${distance} after ${last}`);
            const off = truth === null ? 0 : Math.abs(distance - truth.distance) - truth.slack;
            must(off <= Math.abs(truth?.distance ?? 0) * 2e-7, () => `${what}: ${distance}, not ${truth.distance}`);
            last = distance;
            found.add(id);
        }
        const nearer = [...right].filter(([id, truth]) => {
            return (
                truth !== null && !found.has(id) && truth.distance + 2 * truth.slack < last - TOLERANCE * Math.abs(last)
            );
        });
        counts.searches += 1;
        if (exact) must(nearer.length === 0, () => `${what}: ${show(nearer)} are nearer than ${last}`);
        counts.wanted += result.length;
        counts.hits += result.length - Math.min(result.length, nearer.length);
    }

    chain() {
        const [name, column] = this.vectorColumn();
        const key = this.livingKey();
        const row = this.modelled.visibleNow(key);
        const ask = () => this.table.chain(key, name);
        const { result, refused } = this.both(say`chain ${[key, name]}`, ask, () => {
            if (!row) throw new Refusal('NOT_FOUND');
        });
        if (refused) return;
        const items = [];
        for (let link = row.chains[name]; link; link = link.before) items.unshift(link.item);
        this.checkChain(say`chain of ${key}, ${name}`, column, { row, name, items }, result);
    }

    checkChain(what, column, { row, name, items }, [base, ...rest]) {
        const present = row.values[name] ?? null;
        const { compacted } = this.modelled;
        if (base === undefined) {
            must(present === null && items.every(({ time }) => time <= compacted), `${what} is empty`);
            return;
        }
        equal(say`${what}: base`, base.operation.type, 'create');
        const isOfBirth = base.time.getTime() === row.birth.time && base.id > 0;
        must(isOfBirth || (base.id === 0 && base.time.getTime() === 0), () => `${what}: base ${show(base)}`);
        if (isOfBirth && row.birth.id !== null) equal(say`${what}: base`, base.id, row.birth.id);
        // what compaction has not merged is there, whole and in order
        const deltas = rest.filter(({ id }) => id !== 0);
        const wanted = items.slice(items.length - deltas.length);
        must(items.length >= deltas.length, () => `${what}: ${show(deltas)} for ${show(items)}`);
        const merged = items.slice(0, items.length - deltas.length);
        must(
            merged.every(({ time }) => time <= compacted),
            () => `${what} lacks ${show(merged)}`,
        );
        wanted.forEach(({ id, time, operation, metadata }, i) => {
            if (id !== null) equal(say`${what}: id`, deltas[i].id, id);
            const given = { ...operation };
            if ('factor' in given) given.factor = Math.fround(given.factor);
            if ('amount' in given) given.amount = Math.fround(given.amount);
            equal(say`${what}: delta`, deltas[i].operation, given);
            equal(say`${what}: time`, deltas[i].time.getTime(), time);
            equal(say`${what}: metadata`, deltas[i].metadata, metadata);
        });
        let vector = base.operation.vector;
        for (const { operation } of rest) {
            const { type, mode } = operation;
            const isWhole = type === 'create' || (type === 'dense' && mode === 'set');
            vector = isWhole ? kept(column, operation.vector) : changed(column, vector, operation);
        }
        equal(say`${what}: composed`, vector.length > 0 ? vector : null, present);
    }

    /** Everything, now and at a few times. */
    askAll() {
        this.rows(undefined);
        for (let i = 0; i < 3; i++) this.rows(this.time());
        this.filtered();
        this.iterate();
        this.search();
        this.chain();
    }

    ask() {
        this.rows(this.time());
    }

    async step(random) {
        this.random = random;
        this.clock.time += random.chance(0.3) ? 0 : random.below(40);
        let choice = random.below(TOTAL);
        for (const [share, name] of STEPS) {
            choice -= share;
            if (choice >= 0) continue;
            await this[name]();
            this.counts.steps += 1;
            return;
        }
    }
}

/** How often each step comes. */
const STEPS = [
    ...[
        [90, 'insert'],
        [60, 'upsert'],
        [60, 'update'],
        [30, 'updateMany'],
        [200, 'apply'],
        [100, 'applyAll'],
    ],
    ...[
        [40, 'delete'],
        [20, 'expireAt'],
        [10, 'expire'],
        [15, 'tag'],
        [8, 'compact'],
        [15, 'link'],
        [2, 'verify'],
    ],
    ...[
        [4, 'reopen'],
        [3, 'addColumn'],
        [6, 'otherTable'],
        [60, 'ask'],
        [60, 'filtered'],
        [30, 'iterate'],
    ],
    ...[
        [90, 'search'],
        [50, 'chain'],
        [3, 'askAll'],
    ],
];
const TOTAL = STEPS.reduce((sum, [share]) => sum + share, 0);

/** One life; gives its counts. `log` gets a line for each call, `without` holds steps to be left out. */
export async function liveOnce(velta, { seed, steps, reopen, log, without = new Set() }) {
    const life = new Life(velta, { seed, reopen, log });
    let step = 0;
    try {
        await life.open();
        for (; step < steps; step++) {
            if (!without.has(step))
                await life.step(randomFrom(Math.imul(seed, 0x9e3779b1) ^ Math.imul(step + 1, 0x85ebca6b)));
        }
        life.askAll();
        return life.counts;
    } catch (error) {
        error.step = step;
        throw error;
    } finally {
        await life.db?.close();
    }
}

/** The steps of a failing life that are needed for it to fail, found by leaving out ever smaller parts. */
export async function shrink(velta, options, step) {
    const without = new Set();
    const fails = async (tried) => {
        try {
            await liveOnce(velta, { ...options, steps: step + 1, log: undefined, without: tried });
            return false;
        } catch {
            return true;
        }
    };
    for (let size = step >> 1; size > 0; size >>= 1) {
        for (let from = 0; from < step; from += size) {
            const tried = new Set(without);
            for (let i = from; i < from + size && i < step; i++) tried.add(i);
            if (tried.size > without.size && (await fails(tried))) tried.forEach((i) => without.add(i));
        }
    }
    return without;
}

/** Reopens in memory: by an export and an import. */
export function inMemory(velta) {
    return async (db, options) => {
        if (db === null) return velta.createDatabase(options);
        const bytes = db.export();
        await db.close();
        const copy = velta.importDatabase(bytes, options);
        const again = copy.export();
        must(
            bytes.length === again.length && bytes.every((byte, i) => byte === again[i]),
            'an export changed its bytes',
        );
        return copy;
    };
}
