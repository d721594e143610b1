/* The time slider: a step for every change that was made, the last one being now. */
import { byId, make, moment, several } from './dom.js';

/** @typedef {import('./store.js').Change} Change */

/** @param {Change} change */
function describe(change) {
    if (change.kind === 'load') return 'as loaded';
    if (change.kind === 'stream') return 'after a stream of deltas';
    if (change.kind === 'unstream') return 'after the stream was undone';
    const what = change.kind === 'up' ? 'thumbs-up for' : 'taken back for';
    return `after the ${what} ${change.package}`.replace('after the taken', 'after it was taken');
}

export class Timeline {
    /** @type {Change[]} */
    #changes = [];
    #input = /** @type {HTMLInputElement} */ (byId('time'));
    #button = /** @type {HTMLButtonElement} */ (byId('to-now'));

    /** @param {() => void} onChange when another time is chosen */
    constructor(onChange) {
        this.#input.addEventListener('input', () => {
            this.#show();
            onChange();
        });
        this.#button.addEventListener('click', () => {
            this.#input.value = this.#input.max;
            this.#show();
            this.#input.focus();
            onChange();
        });
    }

    /** The time chosen; null: now. */
    get at() {
        const step = Number(this.#input.value);
        return step < Number(this.#input.max) ? (this.#changes[step]?.time ?? null) : null;
    }

    /** @param {Change[]} changes oldest first */
    set(changes) {
        const wasNow = this.at === null;
        this.#changes = changes;
        const last = Math.max(0, changes.length - 1);
        this.#input.max = String(last);
        // A slider with a single step stands at its end, which is now.
        this.#input.min = last === 0 ? '-1' : '0';
        if (wasNow) this.#input.value = String(last);
        this.#input.disabled = last === 0;
        byId('ticks').replaceChildren(
            ...changes.map((change, i) => {
                const tick = make('span', { className: `tick is-${change.kind}` });
                tick.style.setProperty('--place', String(last > 0 ? i / last : 1));
                return tick;
            }),
        );
        this.#show();
    }

    #show() {
        const at = this.at;
        const step = Number(this.#input.value);
        const chosen = this.#changes[step];
        const later = this.#changes.length - 1 - step;
        document.documentElement.classList.toggle('is-past', at !== null);
        this.#input.setAttribute('aria-valuetext', at && chosen ? `${moment(at)}, ${describe(chosen)}` : 'now');
        byId('time-text').textContent = at ? moment(at) : 'Now';
        this.#button.disabled = at === null;
        byId('as-of').textContent = at && chosen ? `As of ${moment(at)}, ${describe(chosen)}` : '';
        byId('as-of-more').textContent = at
            ? `${several(later, 'later change')} left out; nothing can be changed in the past`
            : '';
    }
}
