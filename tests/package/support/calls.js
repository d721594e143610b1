/*
 * Which methods of classes are called: `watchCalls(list)` of [label, owner, name] gives { called, restore }, `called`
 * being the labels of those that were. Getters count as methods.
 */
export function watchCalls(list) {
    const called = new Set();
    const undo = [];
    for (const [label, owner, name] of list) {
        let holder = owner;
        while (holder && !Object.hasOwn(holder, name)) holder = Object.getPrototypeOf(holder);
        if (!holder) continue;
        const descriptor = Object.getOwnPropertyDescriptor(holder, name);
        const slot = descriptor.get ? 'get' : 'value';
        const inner = descriptor[slot];
        if (typeof inner !== 'function') continue;
        const counted = function (...parameters) {
            called.add(label);
            return inner.apply(this, parameters);
        };
        Object.defineProperty(holder, name, { ...descriptor, [slot]: counted });
        undo.push(() => Object.defineProperty(holder, name, descriptor));
    }
    return { called, restore: () => undo.splice(0).forEach((put) => put()) };
}
