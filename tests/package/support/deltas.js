/*
 * Short names for vectors and their deltas, and a clock that tests move.
 */
export const f32 = (...values) => new Float32Array(values);
export const create = (vectorId, vector) => ({
    vectorId,
    operation: { type: 'create', vector },
});
export const del = (vectorId) => ({ vectorId, operation: { type: 'delete' } });
export const scale = (vectorId, factor) => ({
    vectorId,
    operation: { type: 'scale', factor },
});
export const offset = (vectorId, amount) => ({
    vectorId,
    operation: { type: 'offset', amount },
});
export const dense = (vectorId, vector, mode) => ({
    vectorId,
    operation: { type: 'dense', vector, ...(mode && { mode }) },
});
export const sparse = (vectorId, indices, values, mode) => ({
    vectorId,
    operation: {
        type: 'sparse',
        indices: Uint32Array.from(indices),
        values: f32(...values),
        ...(mode && { mode }),
    },
});

/** A clock that tests move. */
export function clockAt(time) {
    const clock = { time, now: () => clock.time };
    return clock;
}
