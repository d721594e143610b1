/**
 * Errors, and the sentences and checks of arguments that lead to them.
 */
import { VeltaError } from './velta_error.js';

export { VeltaError, type VeltaCode, type VeltaErrorData } from './velta_error.js';

/** An INVALID error. @internal */
export function invalid(message: string, offset?: number): VeltaError {
    return new VeltaError('INVALID', message, { offset });
}

/** A short description of a value for messages: its type and, where short, itself. @internal */
export function describe(value: unknown): string {
    if (value === null || value === undefined) return String(value);
    switch (typeof value) {
        case 'string': {
            const shown = value.length > 24 ? `${value.slice(0, 24)}…` : value;
            return `the string ${JSON.stringify(shown)}`;
        }
        case 'number':
            return `the number ${value}`;
        case 'bigint':
            return `the bigint ${value}n`;
        case 'boolean':
            return `${value}`;
        case 'function':
            return 'a function';
        case 'symbol':
            return 'a symbol';
        default: {
            if (Array.isArray(value)) return `an array of ${value.length}`;
            const maker = (Object.getPrototypeOf(value) as { constructor?: { name?: string } } | null)?.constructor
                ?.name;
            if (ArrayBuffer.isView(value)) return `a ${maker} of ${value.byteLength} bytes`;
            return maker === undefined || maker === 'Object' ? 'an object' : `a ${maker}`;
        }
    }
}

/** A name for messages: in quotes and not too long; whatever is no name is described. @internal */
export function quoted(name: unknown): string {
    if (typeof name !== 'string') return describe(name);
    return `'${name.length > 64 ? `${name.slice(0, 64)}…` : name}'`;
}

/**
 * Refuses what is not an object, and names that are not in the list: a misspelt option must not be ignored.
 * @internal
 */
export function checkOptions(where: string, options: unknown, known: readonly string[]): void {
    if (options === undefined) return;
    if (typeof options !== 'object' || options === null || Array.isArray(options)) {
        throw invalid(`${where}: options must be an object, not ${describe(options)}`);
    }
    for (const name of Object.keys(options)) {
        if (!known.includes(name)) {
            throw invalid(`${where}: there is no option ${quoted(name)}; there are ${known.join(', ')}`);
        }
    }
}
