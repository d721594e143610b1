/*
 * A ring whose two ends are in threads that cannot share memory: each has its own copy, and a MessagePort between them.
 *
 * The producer's end sends the bytes that it has written, in a transferred buffer, the consumer's end how far it has
 * come; both copies hold the same bytes at the same places. The producer knows only what the consumer has told, so it
 * never writes more than the capacity beyond that: nothing queues up without bound on the way.
 *
 * What comes from the other end is checked as what comes from outside: a message that cannot be ends the pool.
 */
import { VeltaError } from '../errors.js';
import type { Ring } from './ring.js';

/** Bytes from which the producer sends without waiting for more. */
const SEND_BYTES = 64 << 10;

interface Port {
    postMessage(message: unknown, transfer?: Transferable[]): void;
    addEventListener?(type: 'message', listener: (event: { data: unknown }) => void): void;
    start?(): void;
    close(): void;
    ref?(): void;
    unref?(): void;
}

/** @internal */
export class Mirror {
    readonly #ring: Ring;
    readonly #port: Port;
    /** How much the other end knows: the position written, whether that is the last, and what was taken. */
    #sent: number;
    #endSent = false;
    #takenTold: string;
    #isQueued = false;
    #isReceiving = false;
    /** Why the pool can no longer be used. */
    failure: VeltaError | null = null;

    constructor(ring: Ring, port: MessagePort) {
        this.#ring = ring;
        this.#port = port as unknown as Port;
        // What the ring holds already goes with the first message.
        this.#sent = ring.tail;
        this.#takenTold = this.#taken();
        port.addEventListener('message', ({ data }) => this.#receive(data));
        port.start();
        // A pool alone keeps no process running: whoever waits for it does.
        this.#port.unref?.();
        ring.onChange = () => this.#changed();
        this.#changed();
    }

    #taken(): string {
        const { tail, applied, acknowledged, stopped } = this.#ring;
        return [tail, applied, acknowledged, stopped].join();
    }

    #changed(): void {
        if (this.#isReceiving) return;
        if ((this.#ring.head - this.#sent) >>> 0 >= SEND_BYTES) {
            this.send();
        } else if (!this.#isQueued) {
            this.#isQueued = true;
            queueMicrotask(() => {
                this.#isQueued = false;
                this.send();
            });
        }
    }

    /** Tells the other end what it does not know yet. */
    send(): void {
        const { head, wrap, written, ended, tail, applied, acknowledged, stopped } = this.#ring;
        if (head !== this.#sent || ended !== this.#endSent) {
            const bytes = this.#ring.copyOut(this.#sent, head);
            this.#sent = head;
            this.#endSent = ended;
            this.#port.postMessage({ kind: 'written', bytes, wrap, written, ended }, [bytes.buffer]);
        }
        const taken = this.#taken();
        if (taken === this.#takenTold) return;
        this.#takenTold = taken;
        this.#port.postMessage({ kind: 'taken', tail, applied, acknowledged, stopped });
    }

    #receive(data: unknown): void {
        this.#isReceiving = true;
        try {
            this.#read(data);
        } catch (error) {
            this.failure = error instanceof VeltaError ? error : new VeltaError('CORRUPT', String(error));
            this.#ring.stop();
            this.#ring.end();
        } finally {
            this.#isReceiving = false;
        }
    }

    #read(data: unknown): void {
        const message = (typeof data === 'object' && data !== null ? data : {}) as Record<string, unknown>;
        const number = (name: string): number => {
            const value = message[name];
            if (!Number.isSafeInteger(value)) throw strange();
            return value as number;
        };
        if (message['kind'] === 'written' && message['bytes'] instanceof Uint8Array) {
            this.#ring.copyIn(message['bytes'], number('wrap'), number('written'));
            this.#sent = this.#ring.head;
            if (message['ended'] === true) {
                this.#endSent = true;
                this.#ring.end();
            }
        } else if (message['kind'] === 'taken') {
            this.#ring.follow(number('tail'), number('applied'), number('acknowledged'));
            if (message['stopped'] === true) this.#ring.stop();
            this.#takenTold = this.#taken();
        } else {
            throw strange();
        }
    }

    /** Sends what is left and closes the port. */
    close(): void {
        this.send();
        this.#ring.onChange = null;
        this.#port.close();
    }
}

function strange(): VeltaError {
    return new VeltaError('CORRUPT', 'the other end of the pool sent what is no message of it');
}
