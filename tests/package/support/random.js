/*
 * Numbers at random that are the same in every engine and every run: a linear congruence of 32 bits, its high bits
 * mixed down.
 */
export function randomFrom(seed) {
    let state = seed >>> 0;
    const next = () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        let word = state ^ (state >>> 15);
        word = Math.imul(word, 0x2c1b3c6d);
        return ((word ^ (word >>> 13)) >>> 0) / 4294967296;
    };
    const below = (count) => Math.floor(next() * count);
    const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
    return {
        next,
        below,
        normal,
        pick: (list) => list[below(list.length)],
        chance: (share) => next() < share,
        vector: (dimensions) => Float32Array.from({ length: dimensions }, normal),
    };
}

/** The error that `call` throws, or rejects with. */
export async function errorOf(call) {
    try {
        await call();
    } catch (error) {
        return error;
    }
    throw new Error('no error was thrown');
}
