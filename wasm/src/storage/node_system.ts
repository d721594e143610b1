/*
 * The parts of Node that storage uses, typed as far as they are used.
 *
 * Modules are asked for when they are needed, never imported statically, so that the package loads in browsers and
 * passes through bundlers unmodified. Functions are called on the module object itself.
 */
import { VeltaError } from '../errors.js';

export interface FileFacts {
    readonly size: number;
    readonly dev: number;
    readonly ino: number;
    readonly mtimeMs: number;
}

/** Of node:fs. */
export interface NodeFs {
    openSync(path: string, flags: string, mode?: number): number;
    closeSync(descriptor: number): void;
    readSync(descriptor: number, bytes: Uint8Array, offset: number, length: number, position: number): number;
    writeSync(descriptor: number, bytes: Uint8Array, offset: number, length: number, position: number): number;
    fdatasyncSync(descriptor: number): void;
    fsyncSync(descriptor: number): void;
    ftruncateSync(descriptor: number, size: number): void;
    fstatSync(descriptor: number): FileFacts;
    statSync(path: string, options: { throwIfNoEntry: false }): FileFacts | undefined;
    renameSync(from: string, to: string): void;
    unlinkSync(path: string): void;
    mkdirSync(path: string, options: { recursive: true }): string | undefined;
    readdirSync(path: string): string[];
    readFileSync(path: string, encoding: 'utf8'): string;
    writeFileSync(path: string, text: string, options: { flag: 'wx' }): void;
}

/** Of node:path. */
export interface NodePath {
    join(...parts: string[]): string;
    dirname(path: string): string;
    resolve(...parts: string[]): string;
}

interface ChildProcess {
    once(event: 'error' | 'exit', listener: (value: unknown) => void): void;
}

/** Of node:child_process. */
export interface NodeChildProcess {
    spawn(command: string, parameters: string[], options: { stdio: (number | 'ignore')[] }): ChildProcess;
}

interface NodeProcess {
    readonly pid: number;
    readonly platform: string;
    readonly getBuiltinModule?: (name: string) => unknown;
    kill(pid: number, signal: 0): boolean;
}

export interface NodeSystem {
    readonly fs: NodeFs;
    readonly path: NodePath;
    readonly childProcess: NodeChildProcess;
    readonly process: NodeProcess;
}

/** @throws {VeltaError} UNSUPPORTED outside Node. */
export function nodeSystem(): NodeSystem {
    const process = (globalThis as { process?: NodeProcess }).process;
    if (!process?.getBuiltinModule) {
        throw new VeltaError('UNSUPPORTED', "storage 'file' needs Node 20.16 or newer");
    }
    return {
        fs: process.getBuiltinModule('node:fs') as NodeFs,
        path: process.getBuiltinModule('node:path') as NodePath,
        childProcess: process.getBuiltinModule('node:child_process') as NodeChildProcess,
        process,
    };
}

/** The code of a failed system call ('ENOENT', …), or ''. */
export function errorCode(error: unknown): string {
    const code = (error as { code?: unknown } | null)?.code;
    return typeof code === 'string' ? code : '';
}

/** A failed system call as an error of the package: FULL when there is no room, otherwise IO. */
export function fileError(what: string, path: string, error: unknown): VeltaError {
    const full = ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(errorCode(error));
    const reason = error instanceof Error ? error.message : String(error);
    return new VeltaError(full ? 'FULL' : 'IO', `${what} '${path}': ${reason}`, { cause: error });
}
