/**
 * Work in idle moments: linking new rows into the indexes, and checkpoints by time.
 *
 * Both run from timers, so never during another call, and in short slices: a slice links as many nodes as the last
 * one's speed lets fit into its time. Timers do not keep a Node process alive. A failure stops the work; it is thrown
 * by the next `index` or `flush` call of the user, and `stats().maintenanceError` has it meanwhile.
 */

/** What maintenance does to its database. @internal */
export interface Maintained {
    /** Links up to so many nodes; gives how many are left. */
    link(maxNodes: number): number;
    /** Makes the log short if there is anything in it. */
    checkpoint(): void;
    /** Whether a call is under way, from whose callback a timer cannot run; or the database is closed. */
    idle(): boolean;
}

/** How long one slice may take, in milliseconds. @internal */
export const SLICE_MS = 8;
const FIRST_NODES = 16;
const MOST_NODES = 65_536;
/** Linking starts when no write has come for so long, so that a loop of writes is not slowed. */
const QUIET_MS = 20;
/** … but not later than this after the first. */
const PATIENCE_MS = 250;

/** How many nodes fit into a slice, learnt from those before. @internal */
export class Pace {
    nodes = FIRST_NODES;

    /** Notes that linking so many took so long. */
    learn(nodes: number, milliseconds: number): void {
        const fitting = milliseconds > 0 ? (nodes * SLICE_MS * 0.75) / milliseconds : nodes * 4;
        this.nodes = Math.max(1, Math.min(MOST_NODES, Math.floor(Math.min(fitting, nodes * 4))));
    }
}

/** A timer that does not keep the process alive. */
function later(run: () => void, milliseconds: number): ReturnType<typeof setTimeout> {
    const timer = setTimeout(run, milliseconds);
    (timer as { unref?: () => void }).unref?.();
    return timer;
}

/** @internal */
export class Maintenance {
    readonly #database: Maintained;
    readonly #links: boolean;
    readonly #checkpointMs: number;
    readonly pace = new Pace();
    #linkTimer: ReturnType<typeof setTimeout> | undefined;
    #checkpointTimer: ReturnType<typeof setTimeout> | undefined;
    #writes = 0;
    #since = 0;
    /** Why it stopped; null while it works. */
    error: unknown = null;
    #stopped = false;

    /**
     * @param links - whether to link new rows
     * @param checkpointSeconds - the age of the oldest change in the log that starts a checkpoint; Infinity: never
     */
    constructor(database: Maintained, links: boolean, checkpointSeconds: number) {
        this.#database = database;
        this.#links = links;
        this.#checkpointMs = checkpointSeconds * 1000;
    }

    /** To be called after each write. */
    wrote(): void {
        this.#writes++;
        if (this.#linkTimer === undefined && this.#links) this.#startLinking();
        if (this.#checkpointTimer === undefined && this.#checkpointMs < Infinity) this.#startCheckpoint();
    }

    #startLinking(): void {
        if (this.#stopped || this.error !== null) return;
        this.#since = performance.now();
        this.#wait(this.#writes);
    }

    #wait(writes: number): void {
        this.#linkTimer = later(() => {
            const patient = performance.now() - this.#since < PATIENCE_MS;
            if (this.#writes !== writes && patient) this.#wait(this.#writes);
            else this.#slice();
        }, QUIET_MS);
    }

    #slice(): void {
        this.#linkTimer = undefined;
        if (this.#stopped) return;
        let left = 1;
        try {
            if (this.#database.idle()) {
                const { nodes } = this.pace;
                const started = performance.now();
                left = this.#database.link(nodes);
                if (left > 0) this.pace.learn(nodes, performance.now() - started);
            }
        } catch (error) {
            this.error = error;
            return;
        }
        if (left > 0) this.#linkTimer = later(() => this.#slice(), 1);
    }

    #startCheckpoint(): void {
        if (this.#stopped || this.error !== null) return;
        this.#checkpointTimer = later(
            () => {
                this.#checkpointTimer = undefined;
                if (this.#stopped) return;
                if (!this.#database.idle()) {
                    this.#startCheckpoint();
                    return;
                }
                try {
                    this.#database.checkpoint();
                } catch (error) {
                    this.error = error;
                }
            },
            Math.min(this.#checkpointMs, 0x7fffffff),
        );
    }

    /** The log was made short otherwise: the next change is its oldest. */
    checkpointed(): void {
        if (this.#checkpointTimer !== undefined) clearTimeout(this.#checkpointTimer);
        this.#checkpointTimer = undefined;
    }

    /** Throws what stopped it, once, after which it works again. */
    rethrow(): void {
        const { error } = this;
        this.error = null;
        if (error !== null) throw error;
    }

    stop(): void {
        this.#stopped = true;
        if (this.#linkTimer !== undefined) clearTimeout(this.#linkTimer);
        this.checkpointed();
        this.#linkTimer = undefined;
    }
}
