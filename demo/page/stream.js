/* The stream: a worker simulates deltas, a pool carries them, the store applies them, and this says how many. */
import { byId, bytes, number } from './dom.js';
import { note, sentence } from './dialogs.js';

/** Milliseconds over which the rate is taken. */
const WINDOW = 2500;

/**
 * Deltas a second for a place of the slider: ten steps for each power of ten, the last one without a limit.
 * @param {HTMLInputElement} slider
 */
function rateOf({ value, max }) {
    return value === max ? Infinity : Number((10 ** (Number(value) / 10)).toPrecision(2));
}

export class Stream {
    /** @type {() => import('./store.js').Store} */
    #store;
    /** @type {() => Promise<void>} */
    #onChange;
    #slider = /** @type {HTMLInputElement} */ (byId('stream-rate'));
    #button = /** @type {HTMLButtonElement} */ (byId('stream-button'));
    #undo = /** @type {HTMLButtonElement} */ (byId('stream-undo'));
    #facts = [...byId('stream-facts').querySelectorAll('dd')];
    /** @type {Worker | null} */
    #worker = null;
    #ended = Promise.resolve();
    #hasFailed = false;
    /** Deltas that were applied, ever, and how many they were at moments of late. */
    #count = 0;
    /** @type {{ time: number, count: number }[]} */
    #samples = [];

    /**
     * @param {() => import('./store.js').Store} store
     * @param {{ before: () => Promise<void>, onChange: () => Promise<void>, undo: () => Promise<void> }} actions
     *     before: resolves when a stream may begin; onChange: it has begun, or ended; undo: it is to be undone
     */
    constructor(store, { before, onChange, undo }) {
        this.#store = store;
        this.#onChange = onChange;
        this.#slider.addEventListener('input', () => {
            this.#showRate();
            this.#worker?.postMessage({ rate: rateOf(this.#slider) });
        });
        this.#button.addEventListener('click', () => {
            if (this.isRunning) void this.stop();
            else void before().then(() => this.#start());
        });
        this.#undo.addEventListener('click', () => void undo());
        this.#showRate();
    }

    get isRunning() {
        return this.#worker !== null;
    }

    #start() {
        if (this.isRunning) return;
        this.#ended = this.#run();
    }

    /** Resolves when what was on the way is applied, and all is kept. */
    async stop() {
        this.#worker?.postMessage({ stop: true });
        await this.#ended;
    }

    /**
     * Stops because of something, and says so, once.
     * @param {unknown} error
     */
    async fail(error) {
        if (!this.#hasFailed) note(`The stream has stopped: ${sentence(error)}`);
        this.#hasFailed = true;
        await this.stop();
    }

    async #run() {
        const worker = new Worker(new URL('stream_worker.js', import.meta.url), { type: 'module' });
        this.#worker = worker;
        const failure = new AbortController();
        worker.onerror = (event) => {
            event.preventDefault();
            failure.abort(new Error('the worker of the simulation failed'));
        };
        this.#button.textContent = 'Stop';
        this.#samples = [];
        this.#hasFailed = false;
        try {
            const before = await this.#store().streamed();
            await this.#store().stream(
                ({ end, transfer, names, dimensions, first }) => {
                    const rate = rateOf(this.#slider);
                    worker.postMessage({ end, names, dimensions, first, rate }, transfer);
                    this.#onChange().catch((error) => failure.abort(error));
                },
                { signal: failure.signal, onProgress: (count) => (this.#count = before + count) },
            );
        } catch (error) {
            if (!this.#hasFailed) note(`The stream has stopped: ${sentence(failure.signal.reason ?? error)}`);
        } finally {
            worker.terminate();
            this.#worker = null;
            this.#button.textContent = 'Start';
        }
        await this.#onChange();
    }

    #showRate() {
        const rate = rateOf(this.#slider);
        const text = rate === Infinity ? 'as fast as the store takes them' : `${number(rate)} a second`;
        byId('stream-rate-text').textContent = text;
        this.#slider.setAttribute('aria-valuetext', text);
    }

    /**
     * Brings the figures up to date.
     * @param {import('velta').LogStatus} log
     * @param {boolean} canUndo
     */
    async show(log, canUndo) {
        if (!this.isRunning) {
            this.#count = await this.#store().streamed();
            this.#samples = [];
        }
        const now = { time: performance.now(), count: this.#count };
        this.#samples = [...this.#samples.filter(({ time }) => now.time - time < WINDOW), now];
        const first = this.#samples[0] ?? now;
        const seconds = (now.time - first.time) / 1000;
        const rate = seconds > 0 ? (now.count - first.count) / seconds : null;
        const texts = [
            this.isRunning && rate !== null
                ? `${number(rate < 10 ? Number(rate.toFixed(1)) : Math.round(rate))}/s`
                : '\u2013',
            number(this.#count),
            bytes(log.bytes),
        ];
        this.#facts.forEach((value, i) => (value.textContent = texts[i] ?? '\u2013'));
        this.#undo.disabled = this.isRunning || !canUndo;
    }
}
