/*
 * Makes the package's JavaScript from wasm/src with esbuild: bundle({ source, modules, out }).
 *
 *   velta.js          ES module, for browsers, workers, Node and whatever follows the standard
 *   velta.cjs         the same for require() in Node
 *   worker.js         the worker of openWorker, an ES module on its own
 *   thread.js         the worker that links indexes beside others
 *   velta.single.js, velta.single.cjs   one file each: the simd128 module and the worker are inside, as text
 *   parquet.js, parquet.cjs, arrow.js, arrow.cjs   the entries velta/parquet and velta/arrow
 *   zstd.js           the module that these two load when they meet zstd, as text
 *
 * Nothing is left to resolve: no file imports another one or a package. Only the entries beside velta take the classes
 * that there must be one of, as VeltaError, from velta.js or velta.cjs, and zstd.js by import().
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';

const licence = '/*! velta, MIT licence */';
// What import.meta.url is in a CommonJS file.
const cjsUrl = 'const velta_module_url = require("node:url").pathToFileURL(__filename).href;';

function options(entry, outfile, more = {}) {
    return {
        entryPoints: [entry],
        outfile,
        bundle: true,
        format: 'esm',
        platform: 'neutral',
        target: 'es2022',
        charset: 'utf8',
        legalComments: 'none',
        banner: { js: licence },
        minifyWhitespace: true,
        minifySyntax: true,
        minifyIdentifiers: true,
        logLevel: 'warning',
        ...more,
    };
}

// Names stay where a user's program calls in: a stack trace should be readable, and the user's bundler shortens them.
const named = { minifyIdentifiers: false };
const commonjs = {
    ...named,
    format: 'cjs',
    define: { 'import.meta.url': 'velta_module_url' },
    banner: { js: `${licence}\n${cjsUrl}` },
};

/** Texts for imports of these names. */
function inlined(texts) {
    return {
        name: 'inlined',
        setup(builder) {
            builder.onResolve({ filter: /^velta:/ }, ({ path }) => ({ path, namespace: 'inlined' }));
            builder.onLoad({ filter: /.*/, namespace: 'inlined' }, ({ path }) => ({
                contents: texts[path],
                loader: 'text',
            }));
        },
    };
}

/** assets_single.ts for assets.ts, and the two texts that it imports: the module in base64, the worker. */
function oneFile(source, module, worker) {
    const assets = {
        name: 'assets',
        setup(builder) {
            builder.onResolve({ filter: /\/assets\.js$/ }, () => ({ path: join(source, 'assets_single.ts') }));
        },
    };
    return [assets, inlined({ 'velta:simd128': module, 'velta:worker': worker })];
}

// What entries beside velta have in common with it, by the names that index.ts exports.
const SHARED =
    /^\.\.\/(velta_error|database|table|query|filter|ranges\/(range_client|memory_budget))\.js$|^\.\/velta_error\.js$/;

/** velta's own files, as an entry beside it sees them: what `velta` exports. */
function beside(velta) {
    return {
        name: 'beside',
        setup(builder) {
            builder.onResolve({ filter: SHARED }, () => ({ path: velta, external: true }));
            builder.onResolve({ filter: /\/zstd_module\.js$/ }, () => ({ path: './zstd.js', external: true }));
        },
    };
}

/** Makes every file; `source` is wasm/src, `modules` the folder of the .wasm files, `out` the folder to fill. */
export async function bundle({ source, modules, out }) {
    const index = join(source, 'index.ts');
    const worker = join(source, 'worker', 'entry.ts');
    const zstd = { 'velta:zstd': await readFile(join(modules, 'zstd.wasm'), 'base64') };
    await Promise.all([
        build(options(index, join(out, 'velta.js'), named)),
        build(options(index, join(out, 'velta.cjs'), commonjs)),
        build(options(worker, join(out, 'worker.js'))),
        build(options(join(source, 'thread.ts'), join(out, 'thread.js'))),
        build(options(join(source, 'imports', 'zstd_module.ts'), join(out, 'zstd.js'), { plugins: [inlined(zstd)] })),
        ...['parquet', 'arrow'].flatMap((name) => {
            const entry = join(source, name, 'index.ts');
            return [
                build(options(entry, join(out, `${name}.js`), { ...named, plugins: [beside('./velta.js')] })),
                build(options(entry, join(out, `${name}.cjs`), { ...commonjs, plugins: [beside('./velta.cjs')] })),
            ];
        }),
    ]);
    // The worker within the single file takes its module from the page, so it is not in there twice.
    const single = join(source, 'single.ts');
    const inner = await build(
        options(worker, 'worker.js', {
            write: false,
            format: 'iife',
            plugins: oneFile(source, '', ''),
            define: { 'import.meta.url': '""' },
        }),
    );
    const module = await readFile(join(modules, 'velta.simd128.wasm'), 'base64');
    const plugins = oneFile(source, module, inner.outputFiles[0].text);
    await Promise.all([
        build(options(single, join(out, 'velta.single.js'), { plugins })),
        build(options(single, join(out, 'velta.single.cjs'), { ...commonjs, plugins })),
    ]);
}
