/* The time slider: a step for every change that was made, the last one being now. */
import { byId, make, moment } from './dom.js';

/** @typedef {import('./store.js').Change} Change */

/** @param {Change} change */
function describe(change) {
    if (change.kind === 'load') return 'as loaded';
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
        if (wasNow) this.#input.value = String(last);
        this.#input.disabled = last === 0;
        byId('ticks').replaceChildren(...changes.map((change, i) => {
            const tick = make('span', { className: `tick is-${change.kind}` });
            tick.style.setProperty('--place', String(last > 0 ? i / last : 1));
            return tick;
        }));
        this.#show();
    }

    #show() {
        const at = this.at;
        const step = Number(this.#input.value);
        const chosen = this.#changes[step];
        const later = this.#changes.length - 1 - step;
        document.documentElement.classList.toggle('is-past', at !== null);
        this.#input.setAttribute('aria-valuetext',
            at && chosen ? `${moment(at)}, ${describe(chosen)}` : 'now');
        byId('time-text').textContent = at ? moment(at) : 'Now';
        this.#button.disabled = at === null;
        const banner = byId('as-of');
        banner.hidden = at === null;
        banner.textContent = at && chosen
            ? `As of ${moment(at)}, ${describe(chosen)}; ${later} later ${later === 1 ? 'change' : 'changes'} left out. `
                + 'The past cannot be changed.'
            : '';
    }
}
