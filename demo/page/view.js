/*
 * What is being looked for: the text or the package it starts from, and the filters. It lives in the address (after #),
 * so that a reload, a bookmark and the back button keep it.
 */

/** Installed sizes are filtered by powers of two: class c holds 2^c to 2^(c+1) - 1 kB. */
export const SIZE_CLASSES = { first: 1, last: 21 };

/** Classes of the number of dependencies: from, to. */
export const DEPENDS_CLASSES = [
    { from: 0, to: 0, name: 'nothing' },
    { from: 1, to: 2, name: '1\u20132' },
    { from: 3, to: 5, name: '3\u20135' },
    { from: 6, to: 10, name: '6\u201310' },
    { from: 11, to: 1000, name: '11 or more' },
];

/** How a package without a known language is called; no language has this name. */
export const NO_LANGUAGE = 'not known';

/**
 * @typedef {object} View
 * @property {string} text what was typed
 * @property {string | null} like the package to find others like
 * @property {string[]} sections
 * @property {string[]} languages names, and NO_LANGUAGE
 * @property {number[]} depends indices of DEPENDS_CLASSES
 * @property {number} sizeFrom class
 * @property {number} sizeTo class, included
 */

/** @returns {View} */
export function emptyView() {
    return { text: '', like: null, ...noFilters() };
}

export function noFilters() {
    return {
        sections: /** @type {string[]} */ ([]),
        languages: /** @type {string[]} */ ([]),
        depends: /** @type {number[]} */ ([]),
        sizeFrom: SIZE_CLASSES.first,
        sizeTo: SIZE_CLASSES.last,
    };
}

/** @param {View} view */
export function hasSize(view) {
    return view.sizeFrom !== SIZE_CLASSES.first || view.sizeTo !== SIZE_CLASSES.last;
}

/**
 * How many filters are on.
 * @param {View} view
 */
export function filterCount(view) {
    return view.sections.length + view.languages.length + view.depends.length + (hasSize(view) ? 1 : 0);
}

/** @param {View} view */
export function toAddress(view) {
    const parts = new URLSearchParams();
    if (view.text) parts.set('q', view.text);
    if (view.like) parts.set('like', view.like);
    for (const section of view.sections) parts.append('section', section);
    for (const language of view.languages) parts.append('language', language);
    for (const depends of view.depends) parts.append('depends', String(depends));
    if (hasSize(view)) parts.set('size', `${view.sizeFrom}-${view.sizeTo}`);
    const text = parts.toString();
    return text && `#${text}`;
}

/**
 * The view that an address asks for; what makes no sense in it is left out.
 * @param {string} hash
 * @returns {View}
 */
export function fromAddress(hash) {
    const parts = new URLSearchParams(hash.replace(/^#/, ''));
    const view = emptyView();
    view.text = parts.get('q') ?? '';
    view.like = parts.get('like') || null;
    view.sections = parts.getAll('section');
    view.languages = parts.getAll('language');
    view.depends = parts
        .getAll('depends')
        .map(Number)
        .filter((index) => index in DEPENDS_CLASSES);
    const size = /^(\d+)-(\d+)$/.exec(parts.get('size') ?? '');
    if (size) {
        const clamp = (/** @type {string | undefined} */ text) =>
            Math.min(Math.max(Number(text), SIZE_CLASSES.first), SIZE_CLASSES.last);
        const [from, to] = [clamp(size[1]), clamp(size[2])];
        if (from <= to) Object.assign(view, { sizeFrom: from, sizeTo: to });
    }
    return view;
}

/**
 * An installed size as people say it; the first kB of a class.
 * @param {number} sizeClass
 */
export function sizeName(sizeClass) {
    const kilobytes = 2 ** sizeClass;
    if (kilobytes < 1024) return `${kilobytes} kB`;
    return kilobytes < 1024 ** 2 ? `${kilobytes / 1024} MB` : `${kilobytes / 1024 ** 2} GB`;
}
