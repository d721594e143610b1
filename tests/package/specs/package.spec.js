/*
 * The package as it was installed: its entries, its files, and what init answers to modules that are none.
 */
import { expect } from 'chai';
import * as velta from 'velta';
import { isNode, only, openRealm, origin, packageFile } from '../support/harness.js';

/** What init rejects with, given these options, in a realm that has not called it. */
async function refusal(options) {
    const realm = await openRealm(new URL('./realms/init.js', import.meta.url));
    try {
        await realm.call('start', options);
    } catch (error) {
        return error;
    } finally {
        await realm.kill();
    }
    throw new Error('init accepted it');
}

describe('the installed package', () => {
    let manifest;
    before(async () => {
        manifest = await (await packageFile('package.json')).json();
    });

    it('has the entries that its users are told of, and depends on nothing', () => {
        expect(manifest.name).to.equal('velta');
        expect(Object.keys(manifest.exports)).to.deep.equal([
            '.',
            './single',
            './parquet',
            './arrow',
            './worker',
            './wasm/*',
            './package.json',
        ]);
        for (const name of ['dependencies', 'optionalDependencies', 'peerDependencies', 'scripts', 'bin']) {
            expect(manifest).to.not.have.property(name);
        }
    });

    it('has every file that its manifest names', async () => {
        const targets = (entry) => (typeof entry === 'string' ? [entry] : Object.values(entry).flatMap(targets));
        const files = Object.values(manifest.exports)
            .flatMap(targets)
            .filter((path) => !path.includes('*'));
        for (const path of [...files, manifest.main, manifest.module, manifest.types, 'LICENSE', 'README.md']) {
            expect((await (await packageFile(path)).text()).length, path).to.be.above(10);
        }
    });

    it('names types first under each condition', () => {
        for (const entry of [manifest.exports['.'], manifest.exports['./single']]) {
            for (const conditions of Object.values(entry)) expect(Object.keys(conditions)[0]).to.equal('types');
        }
    });

    it('has modules that are modules', async () => {
        for (const name of ['scalar', 'simd128', 'relaxed', 'threads']) {
            const bytes = new Uint8Array(await (await packageFile(`dist/wasm/velta.${name}.wasm`)).arrayBuffer());
            expect([...bytes.subarray(0, 4)], name).to.deep.equal([0, 0x61, 0x73, 0x6d]);
        }
    });

    it('says its version', async () => {
        expect((await velta.init()).version).to.equal(manifest.version);
    });

    it('does nothing by being imported', async () => {
        const realm = await openRealm(new URL('./realms/init.js', import.meta.url));
        expect(await realm.call('afterImport')).to.equal('NOT_READY');
        await realm.kill();
    });
});

describe('a module that cannot be loaded', () => {
    const bad = (name) => ({ wasm: `${origin}/bad/${name}.wasm` });

    it('is a page: the fallback of an application’s server', async () => {
        const error = await refusal(bad('page'));
        expect(error.code).to.equal('BAD_MODULE');
        expect(error.message)
            .to.include('/bad/page.wasm')
            .and.to.match(/is a page .*not WebAssembly/);
    });

    it('is not there', async () => {
        const error = await refusal(bad('missing'));
        expect(error.code).to.equal('BAD_MODULE');
        expect(error.message).to.include('/bad/missing.wasm').and.to.include('404');
    });

    for (const name of ['half', 'empty', 'other']) {
        it(`is ${{ half: 'cut short', empty: 'empty', other: 'a module of someone else' }[name]}`, async () => {
            const error = await refusal(bad(name));
            expect(error.code).to.equal('BAD_MODULE');
            expect(error.message).to.include(`/bad/${name}.wasm`);
        });
    }

    it('is given as bytes that are none', async () => {
        expect((await refusal({ wasm: new Uint8Array([1, 2, 3, 4]) })).code).to.equal('BAD_MODULE');
        expect((await refusal({ wasm: new ArrayBuffer(0) })).code).to.equal('BAD_MODULE');
    });

    it('is something else altogether', async () => {
        expect((await refusal({ wasm: 7 })).code).to.equal('INVALID');
        expect((await refusal({ wasm: { url: 'a' } })).code).to.equal('INVALID');
    });

    it('is on a server that is not there', async () => {
        const error = await refusal({
            wasm: isNode ? 'http://localhost:9/a.wasm' : `${origin.replace(/\d+$/, '9')}/a.wasm`,
        });
        expect(error.code).to.equal('BAD_MODULE');
    });

    only('node', 'a page cannot read files').it('is a file that is not there', async () => {
        const error = await refusal({ wasm: './nothing.wasm' });
        expect(error.code).to.equal('BAD_MODULE');
        expect(error.message).to.include('nothing.wasm');
    });

    it('leaves init free to be called again', async () => {
        const realm = await openRealm(new URL('./realms/init.js', import.meta.url));
        const build = await realm.call('startAfter', bad('missing'), {});
        expect(build).to.be.oneOf(['relaxed', 'simd128', 'scalar']);
        await realm.kill();
    });
});

describe('a module that is found in another way', () => {
    const started = async (name, ...parameters) => {
        const realm = await openRealm(new URL('./realms/init.js', import.meta.url));
        const result = await realm.call(name, ...parameters);
        await realm.kill();
        return result;
    };
    const url = `${origin}/node_modules/velta/dist/wasm/`;

    it('by its address', async () => {
        expect(await started('start', { wasm: `${url}velta.simd128.wasm` })).to.equal('simd128');
    });

    it('without its MIME type', async () => {
        expect(await started('start', { wasm: `${origin}/bad/untyped.wasm` })).to.equal('simd128');
    });

    it('in a folder of all builds', async () => {
        expect(await started('start', { wasm: url, build: 'scalar' })).to.equal('scalar');
    });

    it('as bytes', async () => {
        const bytes = await (await packageFile('dist/wasm/velta.scalar.wasm')).arrayBuffer();
        expect(await started('start', { wasm: bytes, build: 'scalar' })).to.equal('scalar');
        expect(await started('start', { wasm: new Uint8Array(bytes), build: 'scalar' })).to.equal('scalar');
    });

    it('as a compiled module', async () => {
        const bytes = await (await packageFile('dist/wasm/velta.simd128.wasm')).arrayBuffer();
        const wasm = await WebAssembly.compile(bytes);
        expect(await started('start', { wasm, build: 'simd128' })).to.equal('simd128');
    });

    it('as a Response, or the promise of one', async () => {
        expect(await started('startResponse', `${url}velta.simd128.wasm`, 'simd128')).to.equal('simd128');
    });
});
