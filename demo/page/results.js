/*
 * The list of packages. Each place in the list is an element that stays; what is in it changes. So nothing jumps while
 * one types, and a package that moves can be seen moving.
 */
import { byId, bytes, calm, icon, make, several } from './dom.js';

/** @typedef {import('./store.js').Found} Found */

/**
 * @typedef {object} Actions
 * @property {(name: string) => void} like
 * @property {(name: string) => void} vote
 * @property {() => void} leave the focus goes back to the search
 */

export class Results {
    /** @type {Actions} */
    #actions;
    /** @type {Found[]} */
    #shown = [];
    #list = byId('packages');
    #canVote = false;

    /** @param {Actions} actions */
    constructor(actions) {
        this.#actions = actions;
        this.#list.addEventListener('keydown', (event) => this.#onKey(event));
        this.#list.addEventListener('click', (event) => {
            const button = /** @type {Element} */ (event.target).closest('button');
            const name = this.#shown[this.#indexOf(button)]?.name;
            if (!button || name === undefined) return;
            if (button.classList.contains('like')) actions.like(name);
            else if (button.getAttribute('aria-disabled') !== 'true') actions.vote(name);
        });
    }

    /** @param {Element | null} inside */
    #indexOf(inside) {
        return [...this.#list.children].indexOf(/** @type {Element} */ (inside?.closest('.package') ?? null));
    }

    get names() {
        return this.#shown.map((found) => found.name);
    }

    /** @param {KeyboardEvent} event */
    #onKey(event) {
        const index = this.#indexOf(/** @type {Element} */ (event.target));
        const last = this.#shown.length - 1;
        const to = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: last }[event.key];
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        if (to !== undefined) {
            event.preventDefault();
            if (to < 0) this.#actions.leave();
            else this.focus(Math.min(to, last));
        } else if (event.key === '+' || event.key === '=') {
            event.preventDefault();
            const name = this.#shown[index]?.name;
            if (name !== undefined && this.#canVote) this.#actions.vote(name);
        } else if (event.key === 'Escape') {
            this.#actions.leave();
        }
    }

    /**
     * Brings the focus to a place of the list.
     * @param {number} index
     * @param {'like' | 'up'} [button]
     */
    focus(index, button = 'like') {
        /** @type {HTMLElement | null | undefined} */ (
            this.#list.children[index]?.querySelector(`.${button}`)
        )?.focus();
    }

    #makePlace() {
        const place = make('li', { className: 'package' });
        const name = make('a', { className: 'name', target: '_blank', rel: 'noreferrer' });
        place.append(
            make('span', { className: 'rank', 'aria-hidden': 'true' }),
            make(
                'div',
                { className: 'what' },
                name,
                make('p', { className: 'summary' }),
                make('p', { className: 'facts-line' }),
            ),
            make(
                'p',
                { className: 'near' },
                make('span', { className: 'score' }),
                make('span', { className: 'track', 'aria-hidden': 'true' }, make('span', { className: 'dot' })),
            ),
            make(
                'div',
                { className: 'acts' },
                make('button', { type: 'button', className: 'like' }, icon('like'), make('span', {}, 'More like this')),
                make('button', { type: 'button', className: 'up' }, icon('up')),
            ),
        );
        return place;
    }

    /**
     * @param {Element} place
     * @param {Found} found
     * @param {boolean} voted
     * @param {boolean} canVote
     */
    #fill(place, found, voted, canVote) {
        const part = (/** @type {string} */ name) => /** @type {HTMLElement} */ (place.querySelector(`.${name}`));
        const link = /** @type {HTMLAnchorElement} */ (part('name'));
        link.textContent = found.name;
        link.href = `https://packages.debian.org/bookworm/${encodeURIComponent(found.name)}`;
        part('summary').textContent = found.summary;
        part('facts-line').textContent = [
            found.section,
            found.language,
            `${bytes(found.installed_kb * 1024)} installed`,
            found.depends === 0 ? 'no dependencies' : several(found.depends, 'dependency', 'dependencies'),
        ]
            .filter((text) => text !== null)
            .join(' \u00b7 ');
        const near = part('near');
        near.classList.toggle('is-absent', found.score === null);
        const score = Math.min(1, Math.max(0, found.score ?? 0));
        part('score').textContent = found.score === null ? '' : score.toFixed(3);
        near.style.setProperty('--score', String(score));
        const like = part('like');
        like.setAttribute('aria-label', `More like ${found.name}`);
        const up = part('up');
        up.setAttribute('aria-label', `Thumbs-up for ${found.name}`);
        up.setAttribute('aria-pressed', String(voted));
        up.setAttribute('aria-disabled', String(!canVote));
        up.title = canVote
            ? 'Thumbs-up: it moves towards this query (+)'
            : 'Thumbs-up needs a query, and the present without a stream';
    }

    /**
     * @param {Found[]} found
     * @param {{ voted: Set<string>, canVote: boolean, move?: boolean }} options move: show how packages move
     */
    show(found, { voted, canVote, move = false }) {
        const focused = document.activeElement;
        const focusedName = this.#shown[this.#indexOf(focused)]?.name;
        const places = /** @type {HTMLCollectionOf<HTMLElement>} */ (this.#list.children);
        const top = (/** @type {number} */ i) => places[i]?.getBoundingClientRect().top ?? 0;
        const before = new Map(move && !calm() ? this.#shown.map(({ name }, i) => [name, top(i)]) : []);
        while (places.length > found.length) this.#list.lastElementChild?.remove();
        while (places.length < found.length) this.#list.append(this.#makePlace());
        found.forEach((one, i) =>
            this.#fill(/** @type {HTMLElement} */ (places[i]), one, voted.has(one.name), canVote),
        );
        this.#shown = found;
        this.#canVote = canVote;
        // The focus goes with the package, and the list scrolls to it, before it is shown how all came here.
        const after = found.findIndex(({ name }) => name === focusedName);
        if (move && after >= 0) this.focus(after, focused?.classList.contains('up') ? 'up' : 'like');
        found.forEach(({ name }, i) => {
            const way = (before.get(name) ?? top(i)) - top(i);
            if (way === 0) return;
            places[i]?.animate([{ transform: `translateY(${way}px)` }, { transform: 'none' }], {
                duration: 420,
                easing: 'cubic-bezier(.2,.8,.2,1)',
            });
        });
    }
}
