/*
 * detectCapabilities where memory can be shared, and where WebGPU is, is refused, or is not.
 */
import { expect } from 'chai';
import { detectCapabilities } from 'velta/parquet';
import { engine } from '../support/harness.js';

describe('detectCapabilities', () => {
    it('tells that memory can be shared', async () => {
        const { threads, simd128, memory64 } = await detectCapabilities();
        expect([threads, simd128, memory64]).to.deep.equal([true, true, engine !== 'node20']);
    });

    it('tells of WebGPU what an adapter says', async () => {
        const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
        const refused = () => {
            throw new DOMException('no', 'SecurityError');
        };
        const cases = [
            [undefined, false],
            [{}, false],
            [{ gpu: { requestAdapter: async () => ({}) } }, true],
            [{ gpu: { requestAdapter: async () => null } }, false],
            [{ gpu: { requestAdapter: async () => refused() } }, false],
            [{ gpu: { requestAdapter: refused } }, false],
        ];
        try {
            for (const [value, webgpu] of cases) {
                Object.defineProperty(globalThis, 'navigator', { configurable: true, value });
                expect((await detectCapabilities()).webgpu).to.equal(webgpu);
            }
        } finally {
            if (before) Object.defineProperty(globalThis, 'navigator', before);
            else delete globalThis.navigator;
        }
    });
});
