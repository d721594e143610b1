/*
 * What the pages of storms tell the server, which keeps the ledger. While a page is being ended its requests fail one
 * after the other, in Firefox the script of a starting worker before those of the page itself: that is no finding. Such
 * a page says nothing more, and goes no further either.
 */
let isEnding = false;
addEventListener('beforeunload', () => (isEnding = true));

/** The server's answer; of a page that is being ended, none ever. */
export async function tell(route, value) {
    const silence = new Promise(() => undefined);
    if (isEnding) return silence;
    try {
        const response = await fetch(route, { method: 'POST', body: JSON.stringify(value) });
        return await response.json();
    } catch {
        return silence;
    }
}
