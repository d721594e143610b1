/* Channels of this page's tabs whose messages can be held back, as a busy machine does. */

/**
 * `isSentHeld(message)`, `isHeardHeld(message)`: whether one is lost on its way; a promise: when it goes on. Gives the
 * function that ends it for channels made later.
 */
export function watchChannels(isSentHeld, isHeardHeld = () => false) {
    const { BroadcastChannel: Real } = globalThis;
    const pass = (held, go) => (held instanceof Promise ? void held.then(go) : held || go());
    globalThis.BroadcastChannel = class extends Real {
        #isClosed = false;
        postMessage(message) {
            pass(isSentHeld(message), () => this.#isClosed || super.postMessage(message));
        }
        close() {
            this.#isClosed = true;
            super.close();
        }
        set onmessage(listener) {
            super.onmessage = (event) => pass(isHeardHeld(event.data), () => this.#isClosed || listener(event));
        }
    };
    return () => (globalThis.BroadcastChannel = Real);
}

/** Settles as a promise does, or fails when that takes too long. */
export async function soon(promise, what, ms = 5000) {
    let timer;
    const late = new Promise((_, fail) => (timer = setTimeout(() => fail(new Error(`never settled: ${what}`)), ms)));
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
