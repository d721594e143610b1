/*
 * One scripted life in the component and in the package's DeltaVectorDB: every answer and every refusal is the same,
 * vectors and distances to the last bit, and what one exports the other has exported too, and imports.
 */
import { DeltaVectorDB, VeltaError } from 'velta';
import { randomFrom } from '../support/random.js';
import { equal, must, show } from './tell.js';

const START = 1_700_000_000_000;
const DIMENSIONS = 24;
const IDS = ['', 'a', 'b\0b', 'caf\u00e9', '\u{1F600}', 'x'.repeat(2000)].concat(
    Array.from({ length: 30 }, (_, i) => `vector-${i * 7919}`),
);
const STEPS = 600;

/** A delta of the package as the wit has it. */
export function toWit({ vectorId, operation, metadata, timestamp }) {
    const { type, vector, indices, values, factor, amount, mode = 'add' } = operation;
    const forms = {
        create: { tag: 'create', val: vector },
        sparse: { tag: 'sparse', val: { indices, values, mode } },
        dense: { tag: 'dense', val: { vector, mode } },
        scale: { tag: 'scale', val: factor },
        offset: { tag: 'offset', val: amount },
        delete: { tag: 'delete' },
    };
    return {
        vectorId,
        operation: forms[type],
        ...(metadata && { metadata: JSON.stringify(metadata) }),
        ...(timestamp && { timestamp: BigInt(timestamp.getTime()) }),
    };
}

/** What a call gives, or why it was refused, in one form for both. */
async function outcome(call) {
    try {
        return { value: await call() };
    } catch (error) {
        if (error instanceof VeltaError) return { code: error.code, message: error.message, offset: error.offset };
        if (error?.payload === undefined) throw error;
        const { code, message, offset } = error.payload;
        const number = offset === undefined ? undefined : Number(offset);
        return { code: code.toUpperCase().replaceAll('-', '_'), message, offset: number };
    }
}

class Life {
    constructor(component, metric, seed) {
        this.component = component;
        this.random = randomFrom(seed);
        this.now = START;
        component.clock.now = () => BigInt(this.now);
        this.metric = metric;
        this.maxVectors = 30;
        this.counts = { refusals: 0, answers: 0 };
    }

    open() {
        const { metric, maxVectors } = this;
        const same = { dimensions: DIMENSIONS, metric, maxVectors, checkpointInterval: 5, hnswM: 6, hnswEfSearch: 40 };
        const memoryBudget = 256 << 20;
        this.theirs = new DeltaVectorDB({ ...same, memoryBudget, autoIndex: false, now: () => this.now });
        this.ours = new this.component.Database({ ...same, memoryBudget: BigInt(memoryBudget) });
    }

    id() {
        return this.random.pick(IDS);
    }

    /** `soundness`: of each value. A batch's are sound: of several faults the two need not name the same first. */
    operation(soundness) {
        const { random } = this;
        const length = random.chance(soundness) ? DIMENSIONS : DIMENSIONS + 1;
        const vector = () => random.vector(length);
        const mode = random.pick([undefined, 'add', 'set']);
        const indices = () => Uint32Array.from({ length: 5 }, (_, i) => i * 4 + random.below(4) + (length - 24) * 9);
        const values = () => random.vector(random.chance(soundness) ? 5 : 6);
        const number = () =>
            random.chance(soundness) ? Math.fround(random.normal() + 1) : random.pick([NaN, Infinity]);
        const kinds = [
            () => ({ type: 'create', vector: vector() }),
            () => ({ type: 'create', vector: vector() }),
            () => ({ type: 'sparse', indices: indices(), values: values(), mode }),
            () => ({ type: 'dense', vector: vector(), mode }),
            () => ({ type: 'scale', factor: number() }),
            () => ({ type: 'offset', amount: number() }),
            () => ({ type: 'delete' }),
        ];
        return random.pick(kinds)();
    }

    delta(soundness) {
        const { random } = this;
        const operation = this.operation(soundness);
        const metadata = operation.type !== 'delete' && random.chance(0.2) ? { why: this.id(), n: 1 } : undefined;
        const timestamp = random.chance(0.3) ? new Date(this.now - 5 + random.below(10)) : undefined;
        return { vectorId: this.id(), operation, ...(metadata && { metadata }), ...(timestamp && { timestamp }) };
    }

    /** The same call on both; refusals agree in code and place. */
    async both(what, ourCall, theirCall) {
        const [ours, theirs] = [await outcome(ourCall), await outcome(theirCall)];
        const told = () => `${what}: the component gave ${show(ours)}, the package ${show(theirs)}`;
        must(ours.code === theirs.code, told);
        if (ours.code === undefined) {
            this.counts.answers++;
            equal(what, ours.value, theirs.value);
        } else {
            this.counts.refusals++;
            if (what === 'applyDeltas') must(ours.offset === theirs.offset, told);
            must(ours.message.length > 0, told);
        }
    }

    write() {
        const { ours, theirs } = this;
        if (this.random.chance(0.7)) {
            const delta = this.delta(0.97);
            const ourCall = () => Number(ours.applyDelta(toWit(delta)));
            return this.both('applyDelta', ourCall, () => theirs.applyDelta(delta));
        }
        const deltas = Array.from({ length: this.random.below(6) }, () => this.delta(1));
        const ourCall = () => Array.from(ours.applyDeltas(deltas.map(toWit)), Number);
        return this.both('applyDeltas', ourCall, () => theirs.applyDeltas(deltas));
    }

    async read() {
        const { ours, theirs, random } = this;
        const id = this.id();
        await this.both(
            'getVector',
            () => ours.getVector(id) ?? null,
            () => theirs.getVector(id),
        );
        const at = random.chance(0.05) ? 0 : START - 10 + random.below(this.now - START + 20);
        await this.both(
            'getVectorAt',
            () => ours.getVectorAt(id, BigInt(at)) ?? null,
            () => theirs.getVectorAt(id, at),
        );
        must(ours.size() === theirs.size, () => `size: ${ours.size()}, ${theirs.size}`);
    }

    search() {
        const { ours, theirs, random } = this;
        const k = random.pick([0, 1, 5, 40, 16_384]);
        const query = random.vector(k > 1 && random.chance(0.05) ? DIMENSIONS - 1 : DIMENSIONS);
        if (k > 1 && random.chance(0.05)) query[3] = NaN;
        const exact = random.chance(0.3);
        const ef = random.pick([undefined, undefined, 100, 0]);
        const at = random.chance(0.4) ? START + random.below(this.now - START + 1) : undefined;
        const options = { exact, ...(ef !== undefined && { ef }), ...(at !== undefined && { at: BigInt(at) }) };
        const { at: _at, ...present } = options;
        return this.both(
            'search',
            () => ours.search(query, k, at === undefined && !exact && ef === undefined ? undefined : options),
            () => (at === undefined ? theirs.search(query, k, present) : theirs.searchAt(query, k, at, present)),
        );
    }

    whole() {
        const { ours, theirs, random } = this;
        if (random.chance(0.5)) {
            return this.both(
                'index',
                () => Number(ours.index(undefined)),
                async () => (await theirs.database.index(), 0),
            );
        }
        const since = random.chance(0.5) ? this.now - random.below(50) : undefined;
        return this.both(
            'compact',
            () => ours.compact(since === undefined ? undefined : BigInt(since)),
            () => void theirs.compact(since === undefined ? {} : { keepSince: since }),
        );
    }

    /** The same bytes; and each goes on with what the other has exported. */
    async exchange() {
        const [ours, theirs] = [this.ours.export(), this.theirs.export()];
        equal('export', ours, theirs);
        const before = { ours: this.ours, theirs: this.theirs };
        this.open();
        this.ours.import(theirs);
        await this.theirs.import(ours);
        before.ours[Symbol.dispose]();
        await before.theirs.close();
    }

    async step(number) {
        this.now += this.random.below(4);
        const turn = this.random.next();
        if (turn < 0.6) await this.write();
        else if (turn < 0.75) await this.read();
        else if (turn < 0.97) await this.search();
        else await this.whole();
        if (number % 100 === 99) await this.exchange();
    }

    async run() {
        this.open();
        for (let number = 0; number < STEPS; number++) await this.step(number);
        this.ours[Symbol.dispose]();
        await this.theirs.close();
        return this.counts;
    }
}

/** Lives of one metric; what they counted. */
export async function sameLife(component, metric, seed) {
    const life = new Life(component, metric, seed);
    const counts = await life.run();
    must(counts.refusals > 50 && counts.answers > 200, () => `the life was too quiet: ${show(counts)}`);
    return counts;
}
