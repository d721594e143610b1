/*
 * What a call throws, checked: `thrown('INVALID', /column 'a'/, () => …)` gives the error, and fails if none comes, if
 * it is no VeltaError, or another one.
 */
import { expect } from 'chai';
import { VeltaError } from 'velta';

function check(error, code, message) {
    expect(error, String(error)).to.be.instanceOf(VeltaError);
    expect(error.name).to.equal('VeltaError');
    expect(error.code, error.message).to.equal(code);
    if (message !== undefined) expect(error.message).to.match(message);
    return error;
}

export function thrown(code, message, call) {
    let result;
    try {
        result = call();
    } catch (error) {
        return check(error, code, message);
    }
    throw new Error(`nothing was thrown; the call gave ${String(result)}`);
}

export async function rejected(code, message, promise) {
    let result;
    try {
        result = await promise;
    } catch (error) {
        return check(error, code, message);
    }
    throw new Error(`nothing was thrown; the promise gave ${String(result)}`);
}
