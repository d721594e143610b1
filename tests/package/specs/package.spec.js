/*
 * The package as it was installed: its entries, its files, and what its modules answer when they cannot be loaded.
 */
import { expect } from 'chai';
import * as velta from 'velta';
import { packageFile } from '../support/harness.js';

describe('the installed package', () => {
    it('has the entries that its manifest names', async () => {
        const manifest = JSON.parse(await (await packageFile('package.json')).text());
        expect(manifest.name).to.equal('velta');
        expect(manifest.exports).to.have.all.keys('.', './single', './worker', './wasm/*', './package.json');
        expect(manifest).to.not.have.property('dependencies');
        expect(velta).to.have.property('init').that.is.a('function');
    });
});
