/*
 * Names of databases, and the file names made of them.
 *
 * A name is any text of 1 to 200 bytes of UTF-8. As a file name, characters that some file system or some browser
 * refuses are written as % and two hexadecimal digits, so every name has one spelling and can be read back.
 */
import { VeltaError } from '../errors.js';

const MAX_NAME_BYTES = 200;

/** @throws {VeltaError} INVALID when `name` cannot be a database's. */
export function checkName(name: string): void {
    if (typeof name !== 'string' || name.length === 0) {
        throw new VeltaError('INVALID', 'the name of a database is a text of at least one character');
    }
    for (const character of name) {
        const code = character.codePointAt(0) as number;
        if (code === 0 || (code >= 0xd800 && code <= 0xdfff)) {
            throw new VeltaError('INVALID', 'the name of a database has no NUL and no half of a surrogate pair');
        }
    }
    if (new TextEncoder().encode(encodeName(name)).length > MAX_NAME_BYTES) {
        throw new VeltaError(
            'INVALID',
            `the name of a database is at most ${MAX_NAME_BYTES} bytes, with three for each special character`,
        );
    }
}

function hexadecimal(character: string): string {
    return '%' + character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0');
}

/** The file name of a database, without its ending. */
export function encodeName(name: string): string {
    return name.replace(/[\u0000-\u001f\u007f"%*/:<>?\\|]|^[. ]|[. ]$/g, hexadecimal);
}

/** The name that encodeName made `text` of; null when it made none of it. */
export function decodeName(text: string): string | null {
    const name = text.replace(/%([0-9A-F]{2})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 16)));
    return name.length > 0 && encodeName(name) === text ? name : null;
}
