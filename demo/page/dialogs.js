/* What lies over the page: a message to answer, a note that goes away, and the sheets of a narrow screen. */
import { byId } from './dom.js';

/**
 * Asks or tells something; resolves with true for the main button.
 * @param {string} title
 * @param {string} text
 * @param {{ ok?: string, other?: string }} [buttons]
 * @returns {Promise<boolean>}
 */
export function ask(title, text, { ok = 'OK', other } = {}) {
    const dialog = /** @type {HTMLDialogElement} */ (byId('message'));
    byId('message-title').textContent = title;
    byId('message-text').textContent = text;
    byId('message-ok').textContent = ok;
    byId('message-other').hidden = other === undefined;
    byId('message-other').textContent = other ?? '';
    return new Promise((resolve) => {
        dialog.returnValue = '';
        byId('message-ok').onclick = () => dialog.close('ok');
        byId('message-other').onclick = () => dialog.close();
        dialog.onclose = () => resolve(dialog.returnValue === 'ok');
        if (!dialog.open) dialog.showModal();
    });
}

let toastTimer = 0;

/**
 * Says something for a while, with a button where something can be done about it.
 * @param {string} text
 * @param {{ label: string, act: () => void }} [button]
 */
export function note(text, button) {
    const toast = byId('toast');
    const press = byId('toast-button');
    byId('toast-text').textContent = text;
    press.hidden = button === undefined;
    press.textContent = button?.label ?? '';
    press.onclick = () => {
        toast.classList.remove('is-shown');
        button?.act();
    };
    toast.classList.add('is-shown');
    clearTimeout(toastTimer);
    toastTimer = window.setTimeout(() => toast.classList.remove('is-shown'), 7000);
}

/** Takes away what was said. */
export function dismiss() {
    byId('toast').classList.remove('is-shown');
}

/**
 * What went wrong, as a sentence with the place where it is known.
 * @param {unknown} error
 */
export function sentence(error) {
    if (!(error instanceof Error)) return String(error);
    const place = 'offset' in error && typeof error.offset === 'number' ? ` (at byte ${error.offset})` : '';
    return error.message + place;
}

/** The rails become sheets where there is no room for them: their content moves into a dialog, and back. */
export function setUpSheets() {
    const sheet = /** @type {HTMLDialogElement} */ (byId('sheet'));
    for (const [id, title] of [
        ['filters', 'Filters'],
        ['store', 'Store'],
    ]) {
        if (!id || !title) continue;
        byId(`open-${id}`).addEventListener('click', () => {
            const content = byId(id);
            byId('sheet-title').textContent = title;
            byId('sheet-body').replaceChildren(content);
            sheet.onclose = () => byId(`${id}-place`).append(content);
            sheet.showModal();
        });
    }
    byId('sheet-close').addEventListener('click', () => sheet.close());
    sheet.addEventListener('click', (event) => {
        if (event.target === sheet) sheet.close();
    });
    for (const query of ['(min-width: 760px)', '(min-width: 1180px)']) {
        matchMedia(query).addEventListener('change', () => sheet.close());
    }
}

/** The colours: the system's until the button is pressed. */
export function setUpTheme() {
    const root = document.documentElement;
    const button = byId('theme');
    const system = matchMedia('(prefers-color-scheme: dark)');
    const isDark = () => (root.dataset['theme'] ?? (system.matches ? 'dark' : 'light')) === 'dark';
    const show = () => button.setAttribute('aria-pressed', String(isDark()));
    button.addEventListener('click', () => {
        root.dataset['theme'] = isDark() ? 'light' : 'dark';
        try {
            localStorage.setItem('theme', root.dataset['theme']);
        } catch {
            // Storage is refused: the choice lasts as long as the page.
        }
        show();
    });
    system.addEventListener('change', show);
    show();
}
