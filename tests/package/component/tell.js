/*
 * Comparing, with words for what differs.
 */
export const show = (value) =>
    JSON.stringify(value, (_, one) =>
        typeof one === 'bigint'
            ? `${one}n`
            : ArrayBuffer.isView(one)
              ? `${one.constructor.name}(${one.length}) ${Array.from(one.subarray(0, 8))}`
              : one,
    )?.slice(0, 600);

export function must(condition, text) {
    if (!condition) throw new Error(typeof text === 'function' ? text() : text);
}

function same(a, b) {
    if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) return Object.is(a, b);
    if (a.constructor !== b.constructor) return false;
    if (Array.isArray(a) || ArrayBuffer.isView(a)) {
        if (a.length !== b.length) return false;
        for (let i = 0; i < a.length; i++) if (!same(a[i], b[i])) return false;
        return true;
    }
    const names = Object.keys(a);
    return names.length === Object.keys(b).length && names.every((name) => same(a[name], b[name]));
}

/** To the last bit. */
export function equal(what, ours, theirs) {
    must(same(ours, theirs), () => `${what}: the component says ${show(ours)}, the package ${show(theirs)}`);
}

/** The payload of the error with which the component refuses a call. */
export function refusal(call) {
    try {
        call();
    } catch (error) {
        if (error.payload === undefined) throw error;
        return error.payload;
    }
    throw new Error(`it was not refused: ${call}`);
}
