/**
 * What this browser, worker or Node can do that concerns velta.
 */
import { bytesOf, computesRelaxed, decodesSimd } from '../probes.js';

/** What is there; see {@link detectCapabilities}. */
export interface Capabilities {
    /** Whether a WebGPU adapter is given. The engine does not use it; programs that make vectors may. */
    readonly webgpu: boolean;
    readonly simd128: boolean;
    /** Whether relaxed SIMD is there and computes rightly. */
    readonly relaxedSimd: boolean;
    /** Whether WebAssembly memory can be shared between threads: in browsers, on cross-origin isolated pages. */
    readonly threads: boolean;
    readonly memory64: boolean;
    /** The build that `init` takes by itself. */
    readonly tier: 'relaxed' | 'simd128' | 'scalar';
}

/** (module (memory i64 1)) */
const MEMORY64_PROBE = 'AGFzbQEAAAAFAwEEAQ==';
/** (module (memory 1 1 shared)) */
const SHARED_PROBE = 'AGFzbQEAAAAFBAEDAQE=';

async function hasAdapter(): Promise<boolean> {
    const { navigator } = globalThis as { navigator?: { gpu?: { requestAdapter(): Promise<unknown> } } };
    try {
        return Boolean(await navigator?.gpu?.requestAdapter());
    } catch {
        return false; // a browser that has the interface and no right to use it
    }
}

/** Finds out what this environment can do. Never rejects. */
export async function detectCapabilities(): Promise<Capabilities> {
    const simd128 = decodesSimd();
    const relaxedSimd = simd128 && computesRelaxed();
    const { crossOriginIsolated } = globalThis as { crossOriginIsolated?: boolean };
    return {
        webgpu: await hasAdapter(),
        simd128,
        relaxedSimd,
        threads:
            typeof SharedArrayBuffer === 'function' &&
            crossOriginIsolated !== false &&
            WebAssembly.validate(bytesOf(SHARED_PROBE)),
        memory64: WebAssembly.validate(bytesOf(MEMORY64_PROBE)),
        tier: relaxedSimd ? 'relaxed' : simd128 ? 'simd128' : 'scalar',
    };
}
