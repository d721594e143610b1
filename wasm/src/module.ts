/**
 * Finds, loads and starts the WebAssembly module: `init`.
 *
 * There are four builds of one engine, which give the same answers and the same bytes. Which of them runs is found out
 * here: `WebAssembly.validate` says what can be decoded, and the relaxed dot product must also give the known answer,
 * because there are engines that decode it and compute something else.
 *
 * A module comes from a URL beside the package's own file, from a URL or folder of the caller's, or from what the
 * caller has already: bytes, a Response, a compiled module, a promise of any of these. What is not a velta module of
 * this very version is refused with a message that says what it was and where it came from.
 */
import { wasmBuilds, wasmSource, type WasmBuild } from './assets.js';
import { checkOptions, describe, invalid, VeltaError } from './errors.js';
import { VERSION } from './generated/version.js';
import { currentInstance, Instance, setInstance } from './instance.js';
import { nodeModule, nodeProcess } from './node.js';
import { computesRelaxed, decodesSimd } from './probes.js';
import { processors, sharesMemory, startThreads } from './threads.js';

/** The builds of the engine. */
export type Build = WasmBuild;

/** Where the module comes from. */
export type WasmSource = string | URL | Response | ArrayBuffer | ArrayBufferView | WebAssembly.Module;

/** Options of {@link init}. */
export interface InitOptions {
    /**
     * The module: its URL (one that ends with `/` is the folder of all the builds), its bytes, a `Response`, a compiled
     * module, or a promise of one of these. In Node a string may be a path.
     * @defaultValue the file `wasm/velta.<build>.wasm` beside the package's JavaScript
     */
    readonly wasm?: WasmSource | Promise<WasmSource>;
    /**
     * Which build to take: `relaxed` (relaxed SIMD, fastest), `simd128`, `scalar` (any engine) or `threads` (simd128 on
     * shared memory).
     * @defaultValue `'auto'`: the first of relaxed, simd128 and scalar that runs here, or `threads` where more than
     * one thread is asked for
     */
    readonly build?: 'auto' | Build;
    /**
     * The most memory that all databases together may take, in bytes: 16 MiB to 4 GiB, rounded up to 64 KiB. It is
     * reserved as addresses, not taken.
     * @defaultValue 2 GiB, or what this system grants of it by halves
     */
    readonly maxMemory?: number;
    /**
     * Threads that link indexes, the caller's included: 1 to 16, or `'auto'` for as many as there are processors, at
     * most 8, where the page is cross-origin isolated, and 1 elsewhere.
     * @defaultValue 1
     */
    readonly threads?: number | 'auto';
}

/** What runs. */
export interface ModuleInfo {
    /** The version of the package and of the module. */
    readonly version: string;
    readonly build: Build;
    /** Threads that link indexes, the caller's included. */
    readonly threads: number;
    /** The most memory that the module may take, in bytes. */
    readonly maxMemory: number;
    /** The memory that the module has taken, in bytes. */
    readonly memoryBytes: number;
}

const PAGE_BYTES = 65_536;
/** What the modules are linked with (--initial-memory). */
const INITIAL_PAGES = 16;
const DEFAULT_MEMORY = 2 ** 31;
const LEAST_MEMORY = 2 ** 24;
const MOST_MEMORY = 2 ** 32;
const MOST_THREADS = 16;
const AUTO_THREADS = 8;

interface Started {
    readonly options: InitOptions;
    /** What was compiled, for others that run the same. */
    module?: WebAssembly.Module;
    readonly info: Promise<ModuleInfo>;
}

let started: Started | null = null;

/**
 * Loads the module. All databases of a page, worker or process share it; `open` and `importDatabase` need it, and
 * `open` calls it where the program has not.
 *
 * Calling it again with the same options, or with none, gives the same; after a failure it may be called anew.
 *
 * @throws {VeltaError} BAD_MODULE when what was loaded is not the module, UNSUPPORTED when this environment cannot run
 * the build asked for, NO_MEMORY when `maxMemory` is refused, EXISTS when it runs with other options already, INVALID
 */
export async function init(options?: InitOptions): Promise<ModuleInfo> {
    checkOptions('init', options, ['wasm', 'build', 'maxMemory', 'threads']);
    if (started !== null) {
        if (options !== undefined && !isSame(options, started.options)) {
            throw new VeltaError('EXISTS', 'velta runs already, with other options; call init once, before all else');
        }
        return started.info;
    }
    const own: Started = { options: { ...options }, info: start(options ?? {}, (module) => (own.module = module)) };
    started = own;
    try {
        return await own.info;
    } catch (error) {
        if (started === own) started = null;
        throw error;
    }
}

/**
 * What a worker of this page is to be told for running the same module; undefined where none runs.
 * @internal
 */
export async function sameModule(): Promise<InitOptions | undefined> {
    const own = started;
    if (own === null) return undefined;
    await own.info;
    const { maxMemory } = own.options;
    return { wasm: own.module as WebAssembly.Module, ...(maxMemory === undefined ? {} : { maxMemory }) };
}

/**
 * What runs: the build, its threads and its memory.
 * @throws {VeltaError} NOT_READY before `init` has finished
 */
export function moduleInfo(): ModuleInfo {
    return infoOf(currentInstance());
}

function infoOf({ build, threads, maxMemory, memory }: Instance): ModuleInfo {
    return { version: VERSION, build, threads, maxMemory, memoryBytes: memory.buffer.byteLength };
}

function isSame(a: InitOptions, b: InitOptions): boolean {
    const plain = (value: unknown): unknown => (value instanceof URL ? value.href : value);
    const names = new Set([...Object.keys(a), ...Object.keys(b)]) as Set<keyof InitOptions>;
    return [...names].every((name) => a[name] === undefined || plain(a[name]) === plain(b[name]));
}

async function start(options: InitOptions, keep: (module: WebAssembly.Module) => void): Promise<ModuleInfo> {
    if (typeof WebAssembly !== 'object') {
        throw new VeltaError('UNSUPPORTED', 'there is no WebAssembly here');
    }
    const most = memoryOf(options);
    const threads = threadsOf(options);
    const { module, build, from } = await load(options, threads);
    const { memory, maxMemory } = reserve(most, options.maxMemory !== undefined, build === 'threads');
    const instance = await instantiate(
        module,
        memory,
        { build, threads: build === 'threads' ? threads : 1, maxMemory },
        from,
    );
    if (instance.threads > 1) await startThreads(module, instance, instance.threads - 1);
    setInstance(instance);
    keep(module);
    return infoOf(instance);
}

// ---- options

function memoryOf({ maxMemory = DEFAULT_MEMORY }: InitOptions): number {
    if (typeof maxMemory !== 'number' || !(maxMemory >= LEAST_MEMORY && maxMemory <= MOST_MEMORY)) {
        throw invalid(`init: maxMemory must be between 16 MiB and 4 GiB in bytes, not ${describe(maxMemory)}`);
    }
    return Math.ceil(maxMemory / PAGE_BYTES) * PAGE_BYTES;
}

function threadsOf({ threads, build }: InitOptions): number {
    const wanted = threads ?? (build === 'threads' ? 'auto' : 1);
    if (wanted === 'auto') {
        if (!sharesMemory() || (build !== undefined && build !== 'auto' && build !== 'threads')) return 1;
        return wasmBuilds.includes('threads') ? Math.min(AUTO_THREADS, processors()) : 1;
    }
    if (!Number.isInteger(wanted) || wanted < 1 || wanted > MOST_THREADS) {
        throw invalid(
            `init: threads must be a whole number from 1 to ${MOST_THREADS} or 'auto', not ${describe(wanted)}`,
        );
    }
    if (wanted > 1 && build !== undefined && build !== 'auto' && build !== 'threads') {
        throw invalid(`init: the ${build} build has one thread; more need the build 'threads'`);
    }
    if (wanted > 1 && !sharesMemory()) throw noSharedMemory();
    return wanted;
}

function noSharedMemory(): VeltaError {
    return new VeltaError(
        'UNSUPPORTED',
        'threads need shared memory, which this page does not have: serve it with the headers ' +
            'Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp',
    );
}

// ---- what runs here

/** Whether a build runs here. */
function runs(build: Build): boolean {
    if (build === 'scalar') return true;
    if (build === 'relaxed') return computesRelaxed();
    if (build === 'threads' && !sharesMemory()) return false;
    return decodesSimd();
}

function choose(options: InitOptions, threads: number): Build {
    const { build = 'auto' } = options;
    if (build !== 'auto') {
        const known: readonly string[] = ['scalar', 'simd128', 'relaxed', 'threads'];
        if (!known.includes(build))
            throw invalid(`init: there is no build ${describe(build)}; there are ${known.join(', ')}`);
        if (!runs(build)) throw doesNotRun(build);
        return build;
    }
    if (threads > 1) return 'threads';
    const order: readonly Build[] = ['relaxed', 'simd128', 'scalar'];
    const found = order.find((each) => wasmBuilds.includes(each) && runs(each));
    if (found === undefined) throw doesNotRun('simd128');
    return found;
}

function doesNotRun(build: Build): VeltaError {
    if (build === 'threads' && !sharesMemory()) return noSharedMemory();
    return new VeltaError('UNSUPPORTED', `this engine of WebAssembly does not run the ${build} build`);
}

// ---- loading

interface Compiled {
    readonly module: WebAssembly.Module;
    readonly build: Build;
    /** Where it came from, for messages. */
    readonly from: string;
}

/** What was given as wasm, or as a promise of it. */
async function givenTo(wasm: InitOptions['wasm']): Promise<WasmSource | undefined> {
    try {
        return await wasm;
    } catch (cause) {
        if (cause instanceof VeltaError) throw cause;
        const text = cause instanceof Error ? cause.message : String(cause);
        throw new VeltaError('BAD_MODULE', `what was given as wasm cannot be had: ${text}`, { cause });
    }
}

async function load(options: InitOptions, threads: number): Promise<Compiled> {
    const given = await givenTo(options.wasm);
    const folder = given === undefined ? undefined : folderOf(given);
    const chosen = given === undefined || folder !== undefined ? choose(options, threads) : undefined;
    const source =
        chosen === undefined
            ? (given as WasmSource)
            : folder === undefined
              ? wasmSource(chosen)
              : `${folder}velta.${chosen}.wasm`;
    const { module, from } = await compiled(
        source,
        given === undefined ? "the package's own bytes" : 'what was given as wasm',
    );
    const found = WebAssembly.Module.exports(module).find(({ name }) => name.startsWith('abi_build_'));
    if (found === undefined) throw bad(`${from} is a WebAssembly module, but not velta's`);
    const build = found.name.slice('abi_build_'.length) as Build;
    const wanted =
        chosen ?? (options.build === 'auto' ? undefined : options.build) ?? (threads > 1 ? 'threads' : build);
    if (build !== wanted) throw bad(`${from} is velta's ${build} build, and ${wanted} is needed`);
    if (chosen === undefined && !runs(build)) throw doesNotRun(build);
    return { module, build, from };
}

/** The text of a URL that names a folder. */
function folderOf(source: WasmSource): string | undefined {
    const text = source instanceof URL ? source.href : source;
    return typeof text === 'string' && text.endsWith('/') ? text : undefined;
}

function bad(message: string, cause?: unknown): VeltaError {
    return new VeltaError('BAD_MODULE', message, { cause });
}

async function compiled(source: WasmSource, name: string): Promise<{ module: WebAssembly.Module; from: string }> {
    if (typeof source === 'string' || source instanceof URL) {
        const url = resolved(source);
        const module =
            url.protocol === 'file:' && nodeProcess()
                ? await ofFile(url)
                : await ofResponse(await fetched(url), url.href);
        return { module, from: url.protocol === 'data:' ? 'the data: URL' : url.href };
    }
    if (Object.prototype.toString.call(source) === '[object WebAssembly.Module]') {
        return { module: source as WebAssembly.Module, from: name };
    }
    if (ArrayBuffer.isView(source)) {
        return {
            module: await ofBytes(new Uint8Array(source.buffer, source.byteOffset, source.byteLength), name),
            from: name,
        };
    }
    if (Object.prototype.toString.call(source) === '[object ArrayBuffer]') {
        return { module: await ofBytes(new Uint8Array(source as ArrayBuffer), name), from: name };
    }
    if (typeof Response === 'function' && source instanceof Response) {
        const from = source.url || 'the Response given as wasm';
        if (source.bodyUsed) throw invalid('init: the Response given as wasm has been read already');
        return { module: await ofResponse(source, from), from };
    }
    throw invalid(`init: wasm must be a URL, bytes, a Response or a WebAssembly.Module, not ${describe(source)}`);
}

/** A string is an address as the page understands it, or in Node a path. */
function resolved(source: string | URL): URL {
    if (source instanceof URL) return source;
    const { document, location } = globalThis as { document?: { baseURI: string }; location?: { href: string } };
    const process = nodeProcess();
    let base = document?.baseURI ?? location?.href;
    if (base === undefined && process !== undefined) {
        base = nodeModule<{ pathToFileURL(path: string): URL }>('node:url')?.pathToFileURL(`${process.cwd()}/`).href;
    }
    try {
        return new URL(source, base);
    } catch (cause) {
        throw new VeltaError('INVALID', `init: ${describe(source)} is not a URL`, { cause });
    }
}

async function ofFile(url: URL): Promise<WebAssembly.Module> {
    type Files = { readFile(path: URL): Promise<Uint8Array<ArrayBuffer>> };
    const files = nodeModule<Files>('node:fs/promises') as Files;
    let bytes;
    try {
        bytes = await files.readFile(url);
    } catch (cause) {
        throw bad(`the module could not be read: ${(cause as Error).message}`, cause);
    }
    return ofBytes(bytes, url.href);
}

async function fetched(url: URL): Promise<Response> {
    try {
        return await fetch(url, { credentials: 'same-origin' });
    } catch (cause) {
        const hint =
            url.protocol === 'file:' ? ' (a page opened from a file cannot fetch; serve it, or use velta/single)' : '';
        throw bad(`the module could not be fetched from ${url.href}${hint}: ${(cause as Error).message}`, cause);
    }
}

async function ofResponse(response: Response, from: string): Promise<WebAssembly.Module> {
    if (!response.ok) {
        throw bad(
            `the module is not at ${from}: the server answered ${response.status}; ` +
                "put the package's wasm files there, or give init the option wasm",
        );
    }
    const type = (response.headers.get('content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase();
    if (type === 'application/wasm' && typeof WebAssembly.compileStreaming === 'function') {
        try {
            return await WebAssembly.compileStreaming(response);
        } catch (cause) {
            throw notCompiled(from, cause);
        }
    }
    let bytes;
    try {
        bytes = new Uint8Array(await response.arrayBuffer());
    } catch (cause) {
        throw bad(`the module could not be read from ${from}: ${(cause as Error).message}`, cause);
    }
    return ofBytes(bytes, from);
}

async function ofBytes(bytes: Uint8Array<ArrayBufferLike>, from: string): Promise<WebAssembly.Module> {
    const magic = [0x00, 0x61, 0x73, 0x6d];
    if (!magic.every((byte, i) => bytes[i] === byte)) {
        const start = new TextDecoder().decode(bytes.slice(0, 60)).trim();
        if (start.startsWith('<')) {
            throw bad(
                `${from} is a page (${JSON.stringify(start)}), not WebAssembly: the server answers so where the file ` +
                    "is missing; put the package's wasm files there, or give init the option wasm",
            );
        }
        throw bad(
            `${from} is not WebAssembly (${bytes.length} bytes that begin ${JSON.stringify(start.slice(0, 16))})`,
        );
    }
    try {
        return await WebAssembly.compile(bytes as Uint8Array<ArrayBuffer>);
    } catch (cause) {
        throw notCompiled(from, cause);
    }
}

/** Of an error of compiling: a policy's refusal, or bytes that are no module. */
function notCompiled(from: string, cause: unknown): VeltaError {
    const message = cause instanceof Error ? cause.message : String(cause);
    if (/content.?security.?policy|\bCSP\b|unsafe-eval|disallowed by embedder|blocked/i.test(message)) {
        return bad(
            "the Content-Security-Policy of this page forbids WebAssembly: allow 'wasm-unsafe-eval' in script-src",
            cause,
        );
    }
    return bad(`${from} could not be compiled: ${message}`, cause);
}

// ---- starting

function reserve(most: number, isExact: boolean, shared: boolean): { memory: WebAssembly.Memory; maxMemory: number } {
    for (let maxMemory = most; ; maxMemory /= 2) {
        try {
            const memory = new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum: maxMemory / PAGE_BYTES, shared });
            return { memory, maxMemory };
        } catch (cause) {
            if (isExact || maxMemory / 2 < LEAST_MEMORY) {
                throw new VeltaError(
                    'NO_MEMORY',
                    `this system does not grant a memory of up to ${maxMemory} bytes; give init a smaller maxMemory`,
                    { cause },
                );
            }
        }
    }
}

async function instantiate(
    module: WebAssembly.Module,
    memory: WebAssembly.Memory,
    details: { build: Build; threads: number; maxMemory: number },
    from: string,
): Promise<Instance> {
    let instance;
    try {
        instance = await Instance.create(module, memory, details);
    } catch (cause) {
        if (cause instanceof VeltaError) throw cause;
        throw bad(`${from} does not fit version ${VERSION} of the package: ${(cause as Error).message}`, cause);
    }
    const version = instance.cText(instance.exports.abi_version());
    if (version !== VERSION)
        throw bad(`${from} is of version ${version}, and the package of ${VERSION}: take both from one`);
    return instance;
}
