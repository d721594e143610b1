/* The first visit: the reader says which packages, and they come into the store from one Parquet file, by ranges, with
   a bar that tells the truth; it can be stopped. */
import { VeltaError } from 'velta';
import { byId, bytes, make, number, several } from './dom.js';
import { ask, sentence } from './dialogs.js';

/** @typedef {import('./load_worker.js').Progress} Progress */

/** The worker that reads the file. */
export class Loader {
    #worker = new Worker(new URL('load_worker.js', import.meta.url), { type: 'module' });

    /** @param {(progress: Progress) => void} onProgress */
    constructor(onProgress) {
        this.#worker.addEventListener('message', ({ data }) => data.progress && onProgress(data.progress));
    }

    /** @param {object} question */
    #ask(question) {
        return new Promise((resolve, reject) => {
            this.#worker.addEventListener('message', ({ data: { answer, error } }) => {
                if (error) reject(VeltaError.fromJSON(error));
                else if (answer !== undefined) resolve(answer);
            });
            this.#worker.onerror = () => reject(new Error('the worker that loads the packages did not start'));
            this.#worker.postMessage(question);
        });
    }

    /**
     * What the file holds.
     * @returns {Promise<import('./load_worker.js').Looked>}
     */
    look() {
        return this.#ask({ step: 'look' });
    }

    /** @param {import('./load_worker.js').Load} load */
    load(load) {
        return this.#ask({ step: 'load', ...load });
    }

    stop() {
        this.#worker.postMessage({ step: 'stop' });
    }

    close() {
        this.#worker.terminate();
    }
}

/** @param {Progress} progress */
function show({ share, rows, bytes: fetched, fileBytes }) {
    /** @type {HTMLProgressElement} */ (byId('loading-bar')).value = share;
    byId('loading-step').textContent =
        `${bytes(fetched)} of ${bytes(fileBytes)} fetched, ${several(rows, 'package')} in`;
}

/** @param {HTMLElement} button */
function pressed(button) {
    return new Promise((resolve) => button.addEventListener('click', resolve, { once: true }));
}

/**
 * Offers the sections; the one chosen before stays chosen.
 * @param {import('./load_worker.js').Looked} looked
 */
function offer({ sections, rows, bytes: fetched, fileBytes }) {
    const select = /** @type {HTMLSelectElement} */ (byId('loading-section'));
    const chosen = select.value;
    select.replaceChildren(
        make('option', { value: '' }, `all sections: ${several(rows, 'package')}`),
        ...sections.map(([name, count]) => make('option', { value: name }, `${name}: ${number(count)}`)),
    );
    select.value = chosen;
    byId('loading-step').textContent = `The list took ${bytes(fetched)} of the file\u2019s ${bytes(fileBytes)}.`;
}

/**
 * Fills the store; resolves when all is there, after as many attempts as the reader wants.
 * @param {import('./store.js').Store} store empty
 */
export async function fill(store) {
    const card = byId('loading');
    const button = /** @type {HTMLButtonElement} */ (byId('loading-button'));
    const select = /** @type {HTMLSelectElement} */ (byId('loading-section'));
    card.hidden = false;
    let isStopped = false;
    for (;;) {
        let isLoading = false;
        const loader = new Loader((progress) => isLoading && show(progress));
        const stop = () => {
            isStopped = true;
            loader.stop();
        };
        try {
            select.disabled = button.disabled = true;
            button.textContent = 'Load the packages';
            /** @type {HTMLProgressElement} */ (byId('loading-bar')).value = 0;
            offer(await loader.look());
            if (isStopped) byId('loading-step').textContent = 'Stopped; nothing is kept.';
            select.disabled = button.disabled = isStopped = false;
            await pressed(button);
            select.disabled = isLoading = true;
            button.textContent = 'Cancel';
            button.addEventListener('click', stop);
            byId('loading-step').textContent = 'Starting';
            await store.load(loader, select.value || null);
            card.hidden = true;
            return;
        } catch (error) {
            // Where the list cannot be had, it is not asked for again and again.
            if (!isStopped || !isLoading)
                await ask('The packages could not be loaded', sentence(error), { ok: 'Try again' });
        } finally {
            button.removeEventListener('click', stop);
            loader.close();
        }
    }
}
