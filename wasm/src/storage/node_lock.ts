/*
 * The lock of a database in files, in Node.
 *
 * The native library locks the data file with flock for as long as it is open. Node has no flock, but such a lock
 * belongs to the open file, not to the process that asked for it: so the `flock` command (util-linux, busybox) is
 * started with the open file handed down, locks it, and ends; the lock stays until this process closes the file or
 * dies. That excludes the native library, other processes and other databases of this process alike, shared for
 * readers and exclusive for a writer, and nothing stays behind.
 *
 * Where there is no such command, a file `<name>.velta-lock` is made that names this process; the file of a process
 * that no longer lives (or whose number another process has got since) is ignored. That keeps Node's processes on one
 * machine apart, readers too, but not the native library: there, do not open the same files with both at a time.
 */
import { VeltaError } from '../errors.js';
import { type Lock, type LockOptions, lockedError, pollUntil } from './locks.js';
import { type FileFacts, type NodeSystem, errorCode, fileError } from './node_system.js';

/** Runs `flock` on an open file: true locked, false held by others, null when the command is of no use. */
async function runFlock(system: NodeSystem, descriptor: number, shared: boolean): Promise<boolean | null> {
    const parameters = ['-n', shared ? '-s' : '-x', '3'];
    const code = await new Promise<unknown>((resolve) => {
        try {
            const child = system.childProcess.spawn('flock', parameters, {
                stdio: ['ignore', 'ignore', 'ignore', descriptor],
            });
            child.once('error', () => resolve(null));
            child.once('exit', resolve);
        } catch {
            resolve(null); /* processes may be forbidden here */
        }
    });
    return code === 0 ? true : code === 1 ? false : null;
}

export interface LockedFile {
    readonly descriptor: number;
    /** Whether this call made the file. */
    readonly created: boolean;
    /** Gives back what closing the descriptor does not. */
    readonly lock: Lock;
}

interface FileLockOptions extends LockOptions {
    /** 'r' or 'r+'. */
    readonly flags: string;
    /** Make the file when it is absent. */
    readonly make: boolean;
}

function sameFile(a: FileFacts, b: FileFacts | undefined): boolean {
    return b !== undefined && a.dev === b.dev && a.ino === b.ino;
}

function openFile(
    system: NodeSystem,
    path: string,
    options: FileLockOptions,
): { descriptor: number; created: boolean } {
    try {
        return { descriptor: system.fs.openSync(path, options.flags), created: false };
    } catch (error) {
        if (errorCode(error) !== 'ENOENT') throw fileError('cannot open', path, error);
        if (!options.make) throw new VeltaError('NOT_FOUND', `there is no file '${path}'`, { cause: error });
    }
    try {
        return { descriptor: system.fs.openSync(path, 'wx+', 0o666), created: true };
    } catch (error) {
        if (errorCode(error) === 'EEXIST') return openFile(system, path, options); /* another made it in between */
        throw fileError('cannot make', path, error);
    }
}

/**
 * Opens the file at `path` and locks it, as the native library does.
 *
 * @throws {VeltaError} LOCKED, CANCELLED, NOT_FOUND, IO.
 */
export async function openLocked(
    system: NodeSystem,
    path: string,
    name: string,
    options: FileLockOptions,
): Promise<LockedFile> {
    let found: LockedFile | undefined;
    let made = false;
    const take = async (): Promise<boolean> => {
        const { descriptor, created } = openFile(system, path, options);
        made ||= created;
        let keep = false;
        try {
            const locked = await runFlock(system, descriptor, options.shared);
            /* The path may have got another file while the lock was awaited. */
            const named = sameFile(
                system.fs.fstatSync(descriptor),
                system.fs.statSync(path, { throwIfNoEntry: false }),
            );
            const lock = locked === null && named ? takeLockFile(system, `${path}-lock`) : null;
            if (named && (locked === true || lock !== null)) {
                found = { descriptor, created: made, lock: lock ?? { release: () => undefined } };
                keep = true;
            }
            return keep;
        } finally {
            if (!keep) system.fs.closeSync(descriptor);
        }
    };
    await pollUntil(take, name, options);
    if (!found) throw lockedError(name, options.shared);
    return found;
}

/* ---- without the command */

const WRITING_MS = 10_000;

/** What tells a process from a later one with the same number; empty where the system does not say. */
function startOf(system: NodeSystem, pid: number): string {
    try {
        const text = system.fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
        return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? '';
    } catch {
        return '';
    }
}

/** Whether the process that a lock file names lives. */
function isAlive(system: NodeSystem, path: string, text: string): boolean {
    const [number, start] = text.split(' ');
    const pid = Number(number);
    if (!Number.isInteger(pid) || pid <= 0) {
        /* Not whole: its maker is writing it at this moment, or died while it did. */
        const facts = system.fs.statSync(path, { throwIfNoEntry: false });
        return facts === undefined || Date.now() - facts.mtimeMs < WRITING_MS;
    }
    try {
        system.process.kill(pid, 0);
    } catch (error) {
        return errorCode(error) === 'EPERM';
    }
    return !start || startOf(system, pid) === start;
}

function makeFile(system: NodeSystem, path: string, text: string): boolean {
    try {
        system.fs.writeFileSync(path, text, { flag: 'wx' });
        return true;
    } catch (error) {
        if (errorCode(error) === 'EEXIST') return false;
        throw fileError('cannot make', path, error);
    }
}

function readText(system: NodeSystem, path: string): string | null {
    try {
        return system.fs.readFileSync(path, 'utf8');
    } catch {
        return null;
    }
}

function removeFile(system: NodeSystem, path: string): void {
    try {
        system.fs.unlinkSync(path);
    } catch (error) {
        if (errorCode(error) !== 'ENOENT') throw fileError('cannot remove', path, error);
    }
}

/**
 * One attempt to make the lock file. A dead owner's is replaced by whoever holds a second file, `<path>-take`, so that
 * no two replace it; the maker of that file holds it for an instant only, and a dead one's is removed in turn.
 */
function takeLockFile(system: NodeSystem, path: string): Lock | null {
    const own = `${system.process.pid} ${startOf(system, system.process.pid)}`;
    const lock: Lock = {
        release: () => {
            if (readText(system, path) === own) removeFile(system, path);
        },
    };
    if (makeFile(system, path, own)) return lock;
    const owner = readText(system, path);
    if (owner === null || isAlive(system, path, owner)) return null;
    const taking = `${path}-take`;
    if (!makeFile(system, taking, own)) {
        const taker = readText(system, taking);
        if (taker !== null && !isAlive(system, taking, taker)) removeFile(system, taking);
        return null;
    }
    try {
        if (readText(system, path) !== owner) return null;
        removeFile(system, path);
        return makeFile(system, path, own) ? lock : null;
    } finally {
        removeFile(system, taking);
    }
}
