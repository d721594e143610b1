/*
 * The checks of the component in a page; globalThis.told resolves with what they told.
 */
import { run } from './checks.js';

globalThis.told = run(async (name) => {
    const response = await fetch(new URL(`./transpiled/${name}`, import.meta.url));
    return new Uint8Array(await response.arrayBuffer());
});
