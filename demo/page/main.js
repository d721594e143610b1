/* The page: brings the search box, the filters, the list, the time slider and the panel together over one store. */
import { ask, dismiss, note, sentence, setUpSheets, setUpTheme } from './dialogs.js';
import { byId, bytes, make, several } from './dom.js';
import { fetchEncoder } from './files.js';
import { Filters } from './filters.js';
import { fill } from './loading.js';
import { Panel } from './panel.js';
import { Results } from './results.js';
import { Store, conditionOf } from './store.js';
import { Stream } from './stream.js';
import { Timeline } from './timeline.js';
import { emptyView, fromAddress, toAddress } from './view.js';

const PAGE = 30;
const MOST = 300;
const EXAMPLES = ['chess engine', 'spell checker', 'molecular dynamics', 'burn a cd', 'midi sequencer', 'static site'];

const FACETS = /** @type {const} */ (['section', 'language', 'size_class', 'depends']);

/** @typedef {import('./store.js').Change} Change */

class App {
    #view = fromAddress(location.hash);
    #limit = PAGE;
    #queryInput = /** @type {HTMLInputElement} */ (byId('query'));
    #panel = new Panel();
    #filters = new Filters(this.#view, () => this.#changed());
    #timeline = new Timeline(() => {
        // What the note offers to undo can only be undone now.
        dismiss();
        void this.#refresh();
    });
    #stream = new Stream(() => this.#store, {
        before: () => this.#voting,
        onChange: async () => {
            await this.#readChanges();
            await this.#refresh();
        },
        undo: () => this.#undoStream(),
    });
    #results = new Results({
        like: (name) => this.#like(name),
        vote: (name) => void this.#vote(name),
        leave: () => this.#queryInput.focus(),
    });
    /** @type {Store} */
    #store;
    /** @type {import('./encoder.js').Encoder | null} */
    #encoder = null;
    /** @type {Change[]} */
    #changes = [];
    /** What the list was made with, for a thumbs-up. @type {{ vector: Float32Array, name: string } | null} */
    #query = null;
    /** The filters that the counts were made with. @type {string | null} */
    #counted = null;
    /** Ends the live search that the list follows while the stream runs. @type {(() => void) | null} */
    #unfollow = null;
    /** @type {Promise<void> | null} */
    #running = null;
    #again = false;
    #move = false;
    #voting = Promise.resolve();
    #storeTimer = 0;

    async start() {
        setUpTheme();
        setUpSheets();
        this.#listen();
        this.#filters.showChosen();
        this.#showPivot();
        this.#queryInput.value = this.#view.text;
        if (!this.#view.text && !this.#view.like) this.#showExamples();
        const encoder = fetchEncoder();
        // It is awaited below; a failure before that must not count as unheeded.
        encoder.catch(() => undefined);
        this.#store = await openStore();
        if (!(await this.#store.isLoaded())) await this.#fill();
        this.#encoder = await encoder;
        await this.#begin();
    }

    /** Puts the packages into an empty store. */
    async #fill() {
        allowActions(false);
        byId('packages').hidden = true;
        byId('count').textContent = '';
        byId('more').hidden = true;
        await this.#store.reset();
        await fill(this.#store);
        byId('packages').hidden = false;
    }

    /** Shows a store that holds the packages, and lets its index be finished. */
    async #begin() {
        this.#counted = null;
        await this.#readChanges();
        this.#panel.showSource(await this.#store.source());
        this.#filters.prepare(await this.#counts(emptyView()));
        await this.#refresh();
        allowActions(true);
        document.documentElement.classList.add('is-ready');
        // Where there is a keyboard, it is meant for the search; on a phone it would cover half of the page.
        if (document.activeElement === document.body && matchMedia('(min-width: 760px)').matches)
            this.#queryInput.focus();
        void this.#finishIndex();
    }

    /** Goes on beside the reader; ends early when the store is closed, for a reset or another snapshot. */
    async #finishIndex() {
        let shown = 0;
        try {
            await this.#store.link(() => {
                if (performance.now() - shown < 250) return;
                shown = performance.now();
                void this.#showStore();
            });
        } catch (error) {
            if (!isClosed(error)) note(`The index could not be finished: ${sentence(error)}`);
        }
        await this.#showStore();
    }

    #listen() {
        this.#queryInput.addEventListener('input', () => {
            Object.assign(this.#view, { text: this.#queryInput.value, like: null });
            this.#changed();
        });
        byId('search-form').addEventListener('submit', (event) => event.preventDefault());
        this.#queryInput.addEventListener('keydown', (event) => {
            if (event.key === 'ArrowDown') {
                event.preventDefault();
                this.#results.focus(0);
            } else if (event.key === 'Escape') {
                this.#ask('', null);
            }
        });
        document.addEventListener('keydown', (event) => {
            const inText = event.target instanceof HTMLInputElement && event.target.type === 'search';
            if (event.key !== '/' || inText || event.ctrlKey || event.metaKey || event.altKey) return;
            event.preventDefault();
            this.#queryInput.focus();
            this.#queryInput.select();
        });
        addEventListener('popstate', () => {
            Object.assign(this.#view, fromAddress(location.hash));
            this.#queryInput.value = this.#view.text;
            this.#filters.showChosen();
            this.#changed(false);
        });
        byId('more').addEventListener('click', () => {
            this.#limit = Math.min(MOST, this.#limit + PAGE);
            void this.#refresh();
        });
        byId('export').addEventListener('click', () => void this.#guard('The export failed', () => this.#export()));
        byId('clear-query').addEventListener('click', () => {
            this.#ask('', null);
            this.#queryInput.focus();
        });
        byId('import').addEventListener('click', () => byId('import-file').click());
        byId('import-file').addEventListener('change', () => void this.#import());
        byId('reset').addEventListener('click', () => void this.#guard('The reset failed', () => this.#reset()));
    }

    /** @param {boolean} [write] the new view into the address */
    #changed(write = true) {
        if (write) history.replaceState(null, '', toAddress(this.#view) || location.pathname + location.search);
        this.#limit = PAGE;
        this.#showPivot();
        void this.#refresh();
    }

    /**
     * A new question that can be gone back from.
     * @param {string} text
     * @param {string | null} like
     */
    #ask(text, like) {
        Object.assign(this.#view, { text, like });
        this.#queryInput.value = text;
        history.pushState(null, '', toAddress(this.#view) || location.pathname + location.search);
        this.#changed(false);
        byId('list').scrollTo({ top: 0 });
    }

    /** @param {string} name */
    #like(name) {
        this.#ask('', name);
        this.#queryInput.focus();
    }

    #showPivot() {
        const { like, text } = this.#view;
        byId('search-form').classList.toggle('is-asking', like !== null || text !== '');
        byId('pivot').hidden = like === null;
        byId('pivot').textContent = like === null ? '' : `like ${like}`;
        this.#queryInput.placeholder = like === null ? 'Say what you need' : '';
    }

    #showExamples() {
        byId('understood').replaceChildren(
            'Try ',
            ...EXAMPLES.map((text) => {
                const button = make('button', { type: 'button', className: 'link' }, text);
                button.addEventListener('click', () => {
                    this.#ask(text, null);
                    this.#queryInput.focus();
                });
                return button;
            }),
        );
    }

    /** Makes the list anew; while one search is under way, the last of those asked for waits. */
    async #refresh() {
        this.#again = true;
        if (!this.#store || (!this.#encoder && !this.#running)) return;
        this.#running ??= (async () => {
            byId('packages').ariaBusy = 'true';
            try {
                while (this.#again) {
                    this.#again = false;
                    await this.#search();
                }
            } catch (error) {
                note(`The search failed: ${sentence(error)}`);
            } finally {
                this.#running = null;
                byId('packages').ariaBusy = 'false';
            }
        })();
        await this.#running;
    }

    /** The vector to search with, and its name; null where there is nothing to search for. */
    async #queryOf() {
        const { like, text } = this.#view;
        if (like !== null) {
            const vector = await this.#store.vectorOf(like, this.#timeline.at);
            byId('understood').textContent = vector
                ? `Packages whose descriptions are like that of ${like}, nearest first`
                : `There is no package ${like}`;
            return vector && { vector, name: `like ${like}` };
        }
        if (!this.#encoder || !text.trim()) {
            this.#showExamples();
            return null;
        }
        const { vector, terms, unknown, completed } = this.#encoder.encode(text);
        const said = [];
        if (terms.length > 0) said.push(`Read as ${terms.join(', ')}`);
        if (completed) said.push(`\u201c${completed.typed}\u2026\u201d completed`);
        if (unknown.length > 0) said.push(`not known: ${unknown.join(', ')}`);
        byId('understood').textContent = said.join(' \u00b7 ') || 'Nothing to go by yet';
        return vector && { vector, name: text.trim() };
    }

    async #search() {
        const [view, at, limit, move] = [{ ...this.#view }, this.#timeline.at, this.#limit, this.#move];
        this.#unfollow?.();
        this.#unfollow = null;
        this.#move = false;
        const query = await this.#queryOf();
        this.#query = query;
        let found;
        let matching;
        if (query) {
            const more = view.like === null ? 0 : 1;
            const started = performance.now();
            const { packages, explain } = await this.#store.search(query.vector, view, limit + more, at);
            this.#panel.showLatency(explain, performance.now() - started);
            this.#panel.showQuery(explain);
            matching = explain.matchingRows;
            found = packages.filter(({ name }) => name !== view.like).slice(0, limit);
        } else {
            ({ packages: found, matching } = await this.#store.browse(view, limit));
        }
        const canVote = query !== null && at === null && !this.#stream.isRunning;
        this.#results.show(found, { voted: this.#voted(), canVote, move });
        if (query && at === null && this.#stream.isRunning) await this.#follow(query.vector, view, limit);
        byId('count').textContent = query
            ? `${several(matching, 'package')} by nearness`
            : `${several(matching, 'package')} by name`;
        byId('nothing').hidden = matching > 0;
        byId('more').hidden = found.length < limit || limit >= MOST;
        document.title = query ? `${query.name} \u2013 velta` : 'velta: Debian packages by meaning';
        const condition = conditionOf(view);
        if (condition !== this.#counted) {
            this.#filters.show(await this.#counts(view));
            this.#counted = condition;
        }
        await this.#showStore();
    }

    /**
     * Keeps the list what a search now would give, until the next one.
     * @param {Float32Array} query
     * @param {import('./view.js').View} view
     * @param {number} limit
     */
    async #follow(query, view, limit) {
        let isOver = false;
        const stop = await this.#store.watch(
            query,
            view,
            limit + (view.like === null ? 0 : 1),
            ({ packages, explain }) => {
                if (isOver) return;
                const found = packages.filter(({ name }) => name !== view.like).slice(0, limit);
                this.#results.show(found, { voted: this.#voted(), canVote: false, move: true });
                this.#panel.showQuery(explain);
            },
            (error) => isOver || note(`The list could not follow: ${sentence(error)}`),
        );
        this.#unfollow = () => {
            isOver = true;
            stop();
        };
    }

    /** @param {import('./view.js').View} view */
    async #counts(view) {
        const maps = await Promise.all(FACETS.map((facet) => this.#store.facet(facet, view)));
        return /** @type {import('./filters.js').Counts} */ (
            Object.fromEntries(FACETS.map((facet, i) => [facet, maps[i] ?? new Map()]))
        );
    }

    /** Shows the store's figures, and again later: linking and checkpoints go on in idle moments. */
    async #showStore() {
        clearTimeout(this.#storeTimer);
        try {
            await this.#store.trimHistory();
            const { stats, log } = await this.#store.stats();
            this.#panel.showStore(stats, log, this.#store.kind);
            await this.#stream.show(log, this.#changes.at(-1)?.kind === 'stream');
            clearTimeout(this.#storeTimer);
            const wait = stats.indexPending > 0 || this.#stream.isRunning ? 500 : 5000;
            this.#storeTimer = window.setTimeout(() => void this.#showStore(), wait);
        } catch (error) {
            if (isClosed(error)) return;
            if (!this.#stream.isRunning) throw error;
            await this.#stream.fail(error);
        }
    }

    async #readChanges() {
        this.#changes = await this.#store.changes();
        this.#timeline.set(this.#changes);
    }

    /** The packages whose thumbs-up for the query counts at the time chosen. */
    #voted() {
        const at = this.#timeline.at;
        /** @type {Map<string, number>} */
        const votes = new Map();
        for (const change of this.#changes) {
            if (change.package === null || change.query !== this.#query?.name || (at && change.time > at)) continue;
            votes.set(change.package, (votes.get(change.package) ?? 0) + (change.kind === 'up' ? 1 : -1));
        }
        return new Set([...votes].filter(([, n]) => n > 0).map(([name]) => name));
    }

    /**
     * A thumbs-up, or taking it back where it was given.
     * @param {string} name
     */
    async #vote(name) {
        const query = this.#query;
        if (!query || this.#timeline.at !== null || this.#stream.isRunning) return;
        const voting = this.#voting.then(() =>
            this.#guard('The thumbs-up was not taken', async () => {
                const kind = this.#voted().has(name) ? 'undo' : 'up';
                const before = this.#results.names.indexOf(name) + 1;
                await this.#store.vote(name, query.vector, query.name, kind);
                await this.#readChanges();
                this.#move = true;
                await this.#refresh();
                const after = this.#results.names.indexOf(name) + 1;
                if (this.#query?.name !== query.name) return;
                const moved = after === before ? `stays at ${after}` : `${before} \u2192 ${after || 'further down'}`;
                note(
                    `${name}: ${moved}`,
                    kind === 'up' ? { label: 'Undo', act: () => void this.#vote(name) } : undefined,
                );
            }),
        );
        this.#voting = voting;
        await voting;
    }

    async #undoStream() {
        await this.#guard('The stream could not be undone', async () => {
            await this.#store.undoStream();
            await this.#readChanges();
            this.#move = true;
            await this.#refresh();
            note('Every vector is what it was before the stream. The slider still shows the stream\u2019s end.');
        });
    }

    /**
     * Does something, and tells when it failed.
     * @param {string} title
     * @param {() => Promise<void>} act
     */
    async #guard(title, act) {
        try {
            await act();
        } catch (error) {
            await ask(title, sentence(error));
        }
    }

    async #export() {
        const snapshot = await this.#store.export();
        const address = URL.createObjectURL(
            new Blob([/** @type {BlobPart} */ (snapshot)], { type: 'application/octet-stream' }),
        );
        const name = `debian-packages-${new Date().toISOString().slice(0, 10)}.velta`;
        make('a', { href: address, download: name }).click();
        setTimeout(() => URL.revokeObjectURL(address), 60_000);
        byId('snapshot-text').textContent = `${bytes(snapshot.length)}, saved as ${name}`;
    }

    async #import() {
        const input = /** @type {HTMLInputElement} */ (byId('import-file'));
        const file = input.files?.[0];
        input.value = '';
        if (!file) return;
        await this.#guard('This file cannot be used', async () => {
            await this.#stream.stop();
            await this.#store.import(new Uint8Array(await file.arrayBuffer()));
            byId('snapshot-text').textContent = `${file.name} is in: ${bytes(file.size)}`;
            await this.#begin();
        });
    }

    async #reset() {
        const sure = await ask(
            'Delete everything?',
            'Your thumbs-ups and the history are lost; the packages are fetched anew.',
            { ok: 'Delete and fetch anew', other: 'Keep' },
        );
        if (!sure) return;
        /** @type {HTMLDialogElement} */ (byId('sheet')).close();
        await this.#stream.stop();
        await this.#fill();
        byId('snapshot-text').textContent = '';
        await this.#begin();
    }
}

/**
 * Whether what needs the packages can be done.
 * @param {boolean} are they are in the store
 */
function allowActions(are) {
    for (const id of ['stream-button', 'export', 'import', 'reset']) {
        /** @type {HTMLButtonElement} */ (byId(id)).disabled = !are;
    }
}

/**
 * True of the answer to a call that was under way when the store was closed.
 * @param {unknown} error
 */
function isClosed(error) {
    return error instanceof Error && 'code' in error && error.code === 'CLOSED';
}

/** Opens the store; while another tab has it, asks whether to try again. */
async function openStore() {
    const wishes = new URLSearchParams(location.search);
    const storage = wishes.get('storage');
    for (;;) {
        try {
            return await Store.open({
                memory: Number(wishes.get('memory')) || null,
                storage: storage === 'opfs' || storage === 'indexeddb' ? storage : null,
            });
        } catch (error) {
            const locked = error instanceof Error && 'code' in error && error.code === 'LOCKED';
            await ask(
                locked ? 'Open in another tab' : 'The store cannot be opened',
                locked
                    ? 'One tab at a time works with the store. Close the other one, then try again.'
                    : sentence(error),
                { ok: 'Try again' },
            );
        }
    }
}

new App().start().catch((error) => {
    console.error(error);
    void ask('The page cannot work', sentence(error));
});
