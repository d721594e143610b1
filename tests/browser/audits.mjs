/* What is asked of any state of the page: names of controls, contrast, nothing too wide. Each gives what is wrong. */

/** Controls that a screen reader would find without a name, by the browser's own accessibility tree. */
export async function namelessControls(page) {
    const session = await page.context().newCDPSession(page);
    const { nodes } = await session.send('Accessibility.getFullAXTree');
    await session.detach();
    const focusable = nodes.filter(
        (node) =>
            !node.ignored &&
            node.role?.value !== 'RootWebArea' &&
            node.properties?.some(({ name, value }) => name === 'focusable' && value.value),
    );
    const nameless = focusable.filter((node) => !node.name?.value.trim()).map((node) => node.role.value);
    return { count: focusable.length, nameless };
}

/** Texts whose contrast with what is behind them is below 4.5 to 1 (3 to 1 where they are large). */
export function weakContrast(page) {
    return page.evaluate(() => {
        const canvas = document.createElement('canvas');
        canvas.width = canvas.height = 1;
        const pen = canvas.getContext('2d', { willReadFrequently: true });
        /** Any colour of CSS over another, as red, green, blue. */
        const over = (colour, below) => {
            pen.fillStyle = `rgb(${below.join(' ')})`;
            pen.fillRect(0, 0, 1, 1);
            pen.fillStyle = colour;
            pen.fillRect(0, 0, 1, 1);
            return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
        };
        const behind = (element) => {
            const parent = element.parentElement;
            return over(getComputedStyle(element).backgroundColor, parent ? behind(parent) : [255, 255, 255]);
        };
        const light = (rgb) => {
            const [r, g, b] = rgb.map((part) => {
                const share = part / 255;
                return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const weak = new Set();
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const element = walker.currentNode.parentElement;
            if (!walker.currentNode.data.trim() || !element.checkVisibility({ visibilityProperty: true })) continue;
            // What cannot be used at the moment is meant to stand back.
            if (element.closest(':disabled, [aria-disabled=true], script, noscript, .toast:not(.is-shown)')) continue;
            const style = getComputedStyle(element);
            const below = behind(element);
            const [a, b] = [light(over(style.color, below)), light(below)];
            const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            const size = parseFloat(style.fontSize);
            const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
            if (ratio < (large ? 3 : 4.5)) {
                weak.add(`${element.className || element.id || element.tagName}: ${ratio.toFixed(2)}`);
            }
        }
        return [...weak];
    });
}

/** Elements that stand out of the window to the right, in a page that must not scroll sideways. */
export function tooWide(page) {
    return page.evaluate(() => {
        const width = document.documentElement.clientWidth;
        const out = [...document.querySelectorAll('body *')].filter((element) => {
            if (!element.checkVisibility({ visibilityProperty: true }) || element.closest('svg, .skip')) return false;
            // Lines that scroll by themselves may be longer than they are wide.
            if (element.closest('.understood, .chips, .choice label')) return false;
            return element.getBoundingClientRect().right > width + 0.5;
        });
        return [...new Set(out.map((element) => element.className || element.id || element.tagName))];
    });
}

/** Buttons and boxes that are smaller than a fingertip needs. */
export function smallTargets(page, least) {
    return page.evaluate(
        (size) =>
            [...document.querySelectorAll('button, label, a.name')]
                .filter((element) => {
                    if (
                        !element.checkVisibility({ visibilityProperty: true }) ||
                        element.closest('.understood, .chips')
                    )
                        return false;
                    if (element.matches('a')) return false; // a link in a text
                    const box = element.getBoundingClientRect();
                    return box.width > 0 && box.height < size;
                })
                .map(
                    (element) =>
                        `${element.id || element.className || element.textContent}: ` +
                        `${Math.round(element.getBoundingClientRect().height)}`,
                ),
        least,
    );
}
