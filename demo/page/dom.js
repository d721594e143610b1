/* Small helpers over the DOM, and how numbers are written. */

/**
 * The element of that id; the page has it.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
    const found = document.getElementById(id);
    if (!found) throw new Error(`the page has no #${id}`);
    return /** @type {T} */ (found);
}

/**
 * A new element with properties (data-, aria- and role as attributes) and children.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, unknown>} [properties]
 * @param {...(Node | string | null)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
        if (name.includes('-') || name === 'role' || name === 'for') element.setAttribute(name, String(value));
        else Reflect.set(element, name, value);
    }
    for (const child of children) if (child !== null) element.append(child);
    return element;
}

const svgSpace = 'http://www.w3.org/2000/svg';

/**
 * A new SVG element with attributes.
 * @param {string} tag
 * @param {Record<string, string | number>} [attributes]
 * @returns {SVGElement}
 */
export function makeSvg(tag, attributes = {}) {
    const element = document.createElementNS(svgSpace, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
    return element;
}

/**
 * A drawing from icons.svg; it says nothing to a screen reader.
 * @param {string} name
 */
export function icon(name) {
    const svg = makeSvg('svg', { class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true' });
    svg.append(makeSvg('use', { href: `icons.svg#${name}` }));
    return svg;
}

const whole = new Intl.NumberFormat('en');
const three = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

/** @param {number} value */
export function number(value) {
    return whole.format(value);
}

/**
 * A count with its noun, in one or many.
 * @param {number} count
 * @param {string} noun
 * @param {string} [many]
 */
export function several(count, noun, many = `${noun}s`) {
    return `${whole.format(count)} ${count === 1 ? noun : many}`;
}

/** @param {number} bytes */
export function bytes(bytes) {
    const units = ['B', 'kB', 'MB', 'GB'];
    let unit = 0;
    while (bytes >= 999.5 && unit < 3) {
        bytes /= 1000;
        unit += 1;
    }
    return `${three.format(bytes)}\u00a0${units[unit]}`;
}

/** @param {number} ms */
export function milliseconds(ms) {
    return `${ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0)}\u00a0ms`;
}

/** @param {number} share 0 to 1 */
export function percent(share) {
    return `${three.format(share * 100)}\u00a0%`;
}

const today = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });
const otherDay = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });

/** @param {Date} date */
export function moment(date) {
    return (date.toDateString() === new Date().toDateString() ? today : otherDay).format(date);
}

/** True where movement is not wanted. */
export function calm() {
    return matchMedia('(prefers-reduced-motion: reduce)').matches;
}
