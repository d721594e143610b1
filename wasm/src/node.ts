/**
 * Node's own modules, where the program runs in Node. They are asked for at run time, so that no bundler looks for
 * them.
 */

interface NodeProcess {
    readonly versions?: { readonly node?: string };
    cwd(): string;
    getBuiltinModule?(name: string): unknown;
}

/** Node's `process`; undefined elsewhere. @internal */
export function nodeProcess(): NodeProcess | undefined {
    const { process } = globalThis as { process?: NodeProcess };
    return process?.versions?.node === undefined || process.getBuiltinModule === undefined ? undefined : process;
}

/** A module of Node, as `node:fs`; undefined elsewhere. @internal */
export function nodeModule<T>(name: string): T | undefined {
    return nodeProcess()?.getBuiltinModule?.(name) as T | undefined;
}
