/* The filters: what can be chosen, what is chosen, and how many packages each choice would leave. */
import { byId, make, makeSvg, number, several } from './dom.js';
import { DEPENDS_CLASSES, NO_LANGUAGE, SIZE_CLASSES, filterCount, hasSize, noFilters, sizeName } from './view.js';

const LANGUAGES_SHOWN = 7;

/**
 * @typedef {import('./view.js').View} View
 * @typedef {Record<'section' | 'language' | 'size_class' | 'depends', Map<string | number | null, number>>} Counts
 */

/**
 * One thing to choose: a check box with its name and count.
 * @param {string} name
 * @param {(on: boolean) => void} onChange
 */
function makeChoice(name, onChange) {
    const box = make('input', { type: 'checkbox' });
    const count = make('span', { className: 'choice-count' }, '\u00a0');
    const item = make(
        'li',
        { className: 'choice' },
        make('label', {}, box, make('span', { className: 'choice-name' }, name), count),
    );
    box.addEventListener('change', () => onChange(box.checked));
    return {
        item,
        /** @param {boolean} on @param {number} left @param {number} most */
        show(on, left, most) {
            box.checked = on;
            count.textContent = number(left);
            item.classList.toggle('is-empty', left === 0 && !on);
            item.style.setProperty('--share', String(most > 0 ? left / most : 0));
        },
        /** @param {boolean} on */
        check(on) {
            box.checked = on;
        },
    };
}

export class Filters {
    /** @type {View} */
    #view;
    /** @type {() => void} */
    #onChange;
    /** @type {Map<string, ReturnType<typeof makeChoice>>} */
    #sections = new Map();
    /** @type {Map<string, ReturnType<typeof makeChoice>>} */
    #languages = new Map();
    /** @type {ReturnType<typeof makeChoice>[]} */
    #depends = [];
    #allLanguages = false;

    /**
     * @param {View} view changed in place
     * @param {() => void} onChange after each change
     */
    constructor(view, onChange) {
        this.#view = view;
        this.#onChange = onChange;
        this.#makeSizes();
        this.#depends = DEPENDS_CLASSES.map(({ name }, index) => {
            const choice = makeChoice(name, (on) => this.#toggle('depends', index, on));
            byId('depends-choices').append(choice.item);
            return choice;
        });
        for (const id of ['clear-filters', 'nothing-clear']) byId(id).addEventListener('click', () => this.clear());
        byId('more-languages').addEventListener('click', () => {
            this.#allLanguages = !this.#allLanguages;
            this.#hideRareLanguages();
        });
    }

    /**
     * Says what there is to choose from; the order stays, whatever the counts become.
     * @param {Counts} counts of all packages
     */
    prepare(counts) {
        /** @param {Map<string | number | null, number>} map */
        const names = (map) => [...map].sort((a, b) => b[1] - a[1]).map(([value]) => String(value ?? NO_LANGUAGE));
        this.#sections = this.#fill('section-choices', names(counts.section), 'sections');
        const languages = names(counts.language);
        // The packages of which it is not known are the most, and the least interesting.
        languages.push(...languages.splice(languages.indexOf(NO_LANGUAGE), 1));
        this.#languages = this.#fill('language-choices', languages, 'languages');
        this.#hideRareLanguages();
        this.show(counts);
    }

    /**
     * @param {string} id
     * @param {string[]} values
     * @param {'sections' | 'languages'} list
     */
    #fill(id, values, list) {
        const choices = new Map(
            values.map((value) => [value, makeChoice(value, (on) => this.#toggle(list, value, on))]),
        );
        byId(id).replaceChildren(...[...choices.values()].map((choice) => choice.item));
        return choices;
    }

    #hideRareLanguages() {
        let position = 0;
        for (const [name, choice] of this.#languages) {
            const shown = position++ < LANGUAGES_SHOWN || this.#view.languages.includes(name);
            choice.item.hidden = !shown && !this.#allLanguages;
        }
        const button = byId('more-languages');
        button.setAttribute('aria-expanded', String(this.#allLanguages));
        button.textContent = this.#allLanguages ? 'Fewer languages' : `All ${this.#languages.size} languages`;
    }

    /**
     * @param {'sections' | 'languages' | 'depends'} list
     * @param {string | number} value
     * @param {boolean} on
     */
    #toggle(list, value, on) {
        const values = /** @type {(string | number)[]} */ (this.#view[list]);
        const rest = values.filter((other) => other !== value);
        Reflect.set(this.#view, list, on ? [...rest, value] : rest);
        this.#changed();
    }

    #changed() {
        this.showChosen();
        this.#onChange();
    }

    clear() {
        Object.assign(this.#view, noFilters());
        this.#changed();
    }

    #makeSizes() {
        for (const id of ['size-from', 'size-to']) {
            const input = /** @type {HTMLInputElement} */ (byId(id));
            Object.assign(input, { min: SIZE_CLASSES.first, max: SIZE_CLASSES.last, step: 1 });
            input.addEventListener('input', () => {
                const value = Number(input.value);
                if (id === 'size-from') this.#view.sizeFrom = Math.min(value, this.#view.sizeTo);
                else this.#view.sizeTo = Math.max(value, this.#view.sizeFrom);
                this.#changed();
            });
        }
        for (let sizeClass = SIZE_CLASSES.first; sizeClass <= SIZE_CLASSES.last; sizeClass++) {
            byId('size-bars').append(makeSvg('rect', { x: (sizeClass - 1) * 10 + 1, width: 8, y: 48, height: 0 }));
        }
    }

    /** Brings the controls, chips and numbers to what is chosen. */
    showChosen() {
        const view = this.#view;
        for (const [name, choice] of this.#sections) choice.check(view.sections.includes(name));
        for (const [name, choice] of this.#languages) choice.check(view.languages.includes(name));
        this.#depends.forEach((choice, index) => choice.check(view.depends.includes(index)));
        const [from, to] = [sizeName(view.sizeFrom), sizeName(view.sizeTo + 1)];
        const inputs = ['size-from', 'size-to'].map((id) => /** @type {HTMLInputElement} */ (byId(id)));
        inputs.forEach((input, i) => {
            input.value = String(i === 0 ? view.sizeFrom : view.sizeTo);
            input.setAttribute('aria-valuetext', i === 0 ? `from ${from}` : `below ${to}`);
        });
        byId('size-from-text').textContent = `from ${from}`;
        byId('size-to-text').textContent = `below ${to}`;
        [...byId('size-bars').children].forEach((bar, i) => {
            const sizeClass = i + SIZE_CLASSES.first;
            bar.classList.toggle('is-out', sizeClass < view.sizeFrom || sizeClass > view.sizeTo);
        });
        const share = (/** @type {number} */ value) =>
            String((value - SIZE_CLASSES.first) / (SIZE_CLASSES.last - SIZE_CLASSES.first));
        byId('size-bars').parentElement?.style.setProperty('--from', share(view.sizeFrom));
        byId('size-bars').parentElement?.style.setProperty('--to', share(view.sizeTo));
        const active = filterCount(view);
        /** @type {HTMLButtonElement} */ (byId('clear-filters')).disabled = active === 0;
        byId('filter-badge').hidden = active === 0;
        byId('filter-badge').textContent = String(active);
        this.#showChips();
    }

    #showChips() {
        const view = this.#view;
        /** @type {[string, () => void][]} */
        const chips = [];
        for (const name of view.sections) chips.push([name, () => this.#toggle('sections', name, false)]);
        for (const name of view.languages) {
            chips.push([
                name === NO_LANGUAGE ? 'language not known' : name,
                () => this.#toggle('languages', name, false),
            ]);
        }
        for (const index of view.depends) {
            chips.push([`depends on ${DEPENDS_CLASSES[index]?.name}`, () => this.#toggle('depends', index, false)]);
        }
        if (hasSize(view)) {
            chips.push([
                `${sizeName(view.sizeFrom)} to ${sizeName(view.sizeTo + 1)}`,
                () => {
                    Object.assign(view, { sizeFrom: SIZE_CLASSES.first, sizeTo: SIZE_CLASSES.last });
                    this.#changed();
                },
            ]);
        }
        byId('chips').replaceChildren(
            ...chips.map(([text, remove]) => {
                const button = make(
                    'button',
                    { type: 'button', className: 'chip', 'aria-label': `Remove filter: ${text}` },
                    text,
                    make('span', { 'aria-hidden': 'true' }, '\u00d7'),
                );
                button.addEventListener('click', remove);
                return make('li', {}, button);
            }),
        );
    }

    /** @param {Counts} counts */
    show(counts) {
        const view = this.#view;
        const most = (/** @type {number[]} */ values) => Math.max(1, ...values);
        const mostSection = most([...counts.section.values()]);
        for (const [name, choice] of this.#sections) {
            choice.show(view.sections.includes(name), counts.section.get(name) ?? 0, mostSection);
        }
        const known = [...counts.language].filter(([name]) => name !== null).map(([, n]) => n);
        for (const [name, choice] of this.#languages) {
            const left = counts.language.get(name === NO_LANGUAGE ? null : name) ?? 0;
            choice.show(view.languages.includes(name), left, name === NO_LANGUAGE ? Infinity : most(known));
        }
        const depends = DEPENDS_CLASSES.map(({ from, to }) =>
            [...counts.depends].reduce(
                (sum, [n, many]) => (Number(n) >= from && Number(n) <= to ? sum + many : sum),
                0,
            ),
        );
        this.#depends.forEach((choice, i) => choice.show(view.depends.includes(i), depends[i] ?? 0, most(depends)));
        const mostSize = most([...counts.size_class.values()]);
        [...byId('size-bars').children].forEach((bar, i) => {
            const left = counts.size_class.get(i + SIZE_CLASSES.first) ?? 0;
            // A class that is not empty can be seen, however few it holds.
            const height = left === 0 ? 0 : Math.max(1.5, (left / mostSize) * 46);
            bar.setAttribute('y', String(48 - height));
            bar.setAttribute('height', String(height));
            bar.setAttribute('data-packages', String(left));
        });
        byId('size-bars').setAttribute('aria-label', several(Math.max(...counts.size_class.values(), 0), 'package'));
        this.showChosen();
    }
}
