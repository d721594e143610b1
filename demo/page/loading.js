/* The first visit: packages are fetched and put into the store, with a bar that tells the truth; it can be stopped. */
import { byId, bytes, number } from './dom.js';
import { ask, sentence } from './dialogs.js';
import { fetchPackages } from './files.js';

/** How much of the work fetching is; the rest is putting the rows in. */
const FETCHING = 0.4;

/** @param {number} share @param {string} text */
function show(share, text) {
    /** @type {HTMLProgressElement} */ (byId('loading-bar')).value = share;
    byId('loading-step').textContent = text;
}

/**
 * @param {import('./store.js').Store} store empty
 * @param {AbortSignal} signal
 */
async function load(store, signal) {
    let [done, size] = [0, 0];
    const { packages, vectors } = await fetchPackages({
        signal,
        onSize: (more) => (size += more),
        onBytes: (more) => {
            done += more;
            show((done / size) * FETCHING, `Fetching: ${bytes(done)} of ${bytes(size)}`);
        },
    });
    await store.load(packages, vectors, {
        signal,
        onProgress: (stored, all) =>
            show(FETCHING + (stored / all) * (1 - FETCHING), `Storing: ${number(stored)} of ${number(all)} packages`),
    });
}

/** @param {HTMLElement} button */
function pressed(button) {
    return new Promise((resolve) => button.addEventListener('click', resolve, { once: true }));
}

/**
 * Fills the store; resolves when all is there, after as many attempts as the reader wants.
 * @param {import('./store.js').Store} store
 */
export async function fill(store) {
    const card = byId('loading');
    const button = byId('loading-button');
    card.hidden = false;
    for (;;) {
        const stop = new AbortController();
        const cancel = () => stop.abort();
        button.textContent = 'Cancel';
        button.addEventListener('click', cancel);
        show(0, 'Starting');
        try {
            await load(store, stop.signal);
            card.hidden = true;
            return;
        } catch (error) {
            await store.reset();
            if (!stop.signal.aborted) await ask('The packages could not be loaded', sentence(error));
        } finally {
            button.removeEventListener('click', cancel);
        }
        show(0, 'Stopped; nothing is kept.');
        button.textContent = 'Load the packages';
        await pressed(button);
    }
}
