/*
 * The script that a worker runs: `velta/worker`. In a browser's dedicated worker and in Node's worker_threads it
 * answers the messages of openWorker(). A worker script of one's own may import it; other messages are left alone.
 */
import { nodeModule } from '../node.js';
import type { ServerMessage } from './protocol.js';
import { serve } from './server.js';

interface Scope {
    postMessage(message: ServerMessage, transfer: ArrayBuffer[]): void;
    addEventListener?(type: 'message', listener: (event: MessageEvent) => void): void;
    on?(type: 'message', listener: (data: unknown) => void): void;
}

function start(scope: Scope): void {
    const receive = serve({ post: (message, transfer) => scope.postMessage(message, transfer) });
    if (scope.on) {
        scope.on('message', receive);
    } else {
        scope.addEventListener?.('message', (event) => receive(event.data));
    }
}

/** Only a dedicated worker's messages come from whoever started it; a window's come from anywhere. */
function scope(): Scope | null {
    if ('DedicatedWorkerGlobalScope' in globalThis) return globalThis as unknown as Scope;
    return nodeModule<{ parentPort: Scope | null }>('node:worker_threads')?.parentPort ?? null;
}

const found = scope();
if (found) start(found);
