/*
 * The simulated stream: deltas by which packages' vectors drift, written into a pool at a given rate.
 *
 * Each package has DIRECTIONS ways to drift, each over 5 % of the dimensions, and takes steps along them, forwards and
 * back, never more than FARTHEST from where it began: so the ranking keeps moving, and stays about what was asked.
 *
 * In: { end, names, dimensions, first, rate } begins, `end` being the other end of a pool, `first` a sequence number;
 * { rate } changes the rate, Infinity meaning as fast as they are taken; { stop: true } ends the pool.
 */
import { SharedDeltaPool } from './velta/velta.js';

const DIRECTIONS = 4;
const FARTHEST = 4;
const STEP = 0.02;
const SHARE = 0.05;
/** Milliseconds between two looks at the clock, and the time that one turn may take. */
const TURN = 10;

/** @type {number} */
let rate = 0;
/** Deltas that were due and written since the rate was set. */
let [since, written] = [0, 0];
let isStopped = false;

/** @param {number} value */
function setRate(value) {
    rate = value;
    [since, written] = [performance.now(), 0];
}

/**
 * Ways to drift, which packages share.
 * @param {number} dimensions
 */
function makeDirections(dimensions) {
    const count = Math.round(dimensions * SHARE);
    const part = Math.floor(dimensions / count);
    return Array.from({ length: 1024 }, () => ({
        indices: Uint32Array.from({ length: count }, (_, i) => i * part + Math.floor(Math.random() * part)),
        values: Float32Array.from({ length: count }, () => (Math.random() < 0.5 ? -STEP : STEP)),
    }));
}

/** @param {{ end: import('velta').PoolEnd, names: string[], dimensions: number, first: number }} what */
async function run({ end, names, dimensions, first }) {
    const pool = SharedDeltaPool.from(end);
    const directions = makeDirections(dimensions);
    const back = directions.map(({ indices, values }) => ({ indices, values: values.map((value) => -value) }));
    const places = new Int8Array(names.length * DIRECTIONS);
    let sequence = first;

    /** Writes the next delta; false where the pool is full. */
    const writeOne = () => {
        const index = Math.floor(Math.random() * names.length);
        const way = Math.floor(Math.random() * DIRECTIONS);
        const at = index * DIRECTIONS + way;
        const place = places[at] ?? 0;
        const forwards = Math.abs(place) === FARTHEST ? place < 0 : Math.random() < 0.5;
        const step = (forwards ? directions : back)[(index * 7 + way * 257) % directions.length];
        const key = names[index];
        if (!step || key === undefined) throw new Error('there are no packages');
        try {
            pool.writeDelta({ key, operation: { type: 'sparse', ...step }, sequence });
        } catch (error) {
            if (error instanceof Error && 'code' in error && error.code === 'BUSY') return false;
            throw error;
        }
        places[at] = place + (forwards ? 1 : -1);
        sequence += 1;
        written += 1;
        return true;
    };

    while (!isStopped) {
        const started = performance.now();
        const due = rate === Infinity ? Infinity : Math.floor(((started - since) / 1000) * rate);
        // What the store could not take is not owed for long.
        if (due < Infinity) written = Math.max(written, due - Math.ceil(rate / 4));
        let isFull = false;
        while (written < due && !isFull && performance.now() - started < TURN) isFull = !writeOne();
        if (isFull) await pool.waitForRoom(pool.capacity / 4);
        await new Promise((done) => setTimeout(done, isFull || written < due ? 0 : TURN));
    }
    pool.end();
}

addEventListener('message', ({ data }) => {
    if (data.rate !== undefined) setRate(data.rate);
    if (data.stop) isStopped = true;
    if (data.end) {
        run(data).catch((error) => {
            // Where the page has closed its end, because it takes no more, nothing is left to do.
            if (!(error instanceof Error && 'code' in error && error.code === 'CLOSED')) reportError(error);
        });
    }
});
