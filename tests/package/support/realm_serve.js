/*
 * The far side of openRealm: answers calls of a module's exported functions.
 */
export function serve(port, url) {
    const module = import(url);
    port.onmessage = async ({ data: { id, name, parameters } }) => {
        try {
            const exported = await module;
            const result = name === '' ? undefined : await exported[name](...parameters);
            port.postMessage({ id, result });
        } catch (error) {
            const { name: kind, message, code, offset, stack } = error;
            port.postMessage({ id, error: { name: kind, message, code, offset, stack } });
        }
    };
}
