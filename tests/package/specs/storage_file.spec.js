/*
 * Files of Node: the native command reads and writes the same ones, under the same lock; failing calls of the system;
 * restoring and deleting that are cut off at every call; a process that is killed.
 */
import { expect } from 'chai';
import { createDatabase, deleteDatabase, importDatabase, init, listDatabases, open, restore } from 'velta';
import { only, openRealm, temporaryFolder } from '../support/harness.js';
import { errorOf, randomFrom } from '../support/random.js';

const SCHEMA = { id: { type: 'int', key: true, required: true }, text: 'string' };
const row = (id) => ({ id, text: `text of ${id}` });
const { describe: inNode } = only('node', 'files are Node’s storage');

async function codeOf(call) {
    try {
        await call();
        return 'none';
    } catch (error) {
        return error.code ?? String(error);
    }
}

/** Keys in the database, verified; null when there is none. */
async function keysIn(directory, name = 'store', lockTimeout = 0) {
    if (!(await listDatabases({ directory })).includes(name)) return null;
    let db;
    try {
        db = await open(name, { directory, mustExist: true, lockTimeout });
    } catch (error) {
        if (error.code === 'NOT_FOUND') return null;
        throw error;
    }
    await db.verify();
    const keys = db.hasTable('rows') ? db.table('rows').all().keys() : [];
    await db.close();
    return keys;
}

async function filled(directory, ids, name = 'store', options = {}) {
    const db = await open(name, { directory, autoIndex: false, checkpointSeconds: Infinity, ...options });
    db.table('rows', SCHEMA).insert(ids.map(row));
    return db;
}

inNode('files and the native command', () => {
    let directory;
    let fs;
    let velta;
    before(async () => {
        await init();
        fs = (await import('node:fs')).default;
        const { spawnSync } = await import('node:child_process');
        velta = (...parameters) => spawnSync(process.env.VELTA_COMMAND, parameters, { encoding: 'utf8' });
    });
    beforeEach(async () => {
        directory = await temporaryFolder();
    });

    it('are the files of the command, both ways, with the same export byte for byte', async () => {
        const path = `${directory}/store.velta`;
        const db = await filled(directory, [1, 2, 3]);
        db.table('vectors', { id: { type: 'int', key: true, required: true }, v: { type: 'vector', dimensions: 3 } });
        db.table('vectors').insert([
            { id: 1, v: [1, 0, 0] },
            { id: 2, v: [0, 1, 0] },
        ]);
        db.linkPending();
        db.tag('first');
        const exported = db.export();
        await db.close();
        expect(fs.readdirSync(directory).sort()).to.deep.equal(['store.velta', 'store.velta-log']);
        expect(velta('verify', path).status).to.equal(0);
        const native = `${directory}/native.velta`;
        expect(velta('export', path, native).stderr).to.equal('');
        expect(fs.readFileSync(native).equals(exported)).to.equal(true);
        /* What the command exported is a store, and an array of bytes. */
        const again = importDatabase(fs.readFileSync(native));
        expect(Buffer.from(again.export()).equals(exported)).to.equal(true);
        await again.close();
        const opened = await open('native', { directory });
        expect(opened.table('rows').get(2).text).to.equal('text of 2');
        opened.table('rows').insert(row(4));
        await opened.close();
        fs.writeFileSync(`${directory}/more.jsonl`, '{"id": 9, "text": "from the command"}\n');
        const imported = velta('import', '--table', 'rows', `${directory}/more.jsonl`, native);
        expect([imported.status, imported.stderr]).to.deep.equal([0, '']);
        const last = await open('native', { directory, readOnly: true });
        expect(last.table('rows').all().keys()).to.deep.equal([1, 2, 3, 4, 9]);
        expect(last.table('rows').get(9).text).to.equal('from the command');
        await last.close();
    }).timeout(60_000);

    it('exclude the command while they are open, and are excluded by it', async () => {
        const { spawn } = await import('node:child_process');
        const path = `${directory}/store.velta`;
        const db = await filled(directory, [1]);
        const refused = velta('verify', path);
        expect([refused.status, refused.stderr]).to.deep.equal([1, refused.stderr]);
        expect(refused.stderr).to.contain('another process');
        await db.close();
        const reader = await open('store', { directory, readOnly: true });
        expect(velta('inspect', path).status).to.equal(0);
        await reader.close();
        /* Locked as the command does, by another process that is then killed. */
        const holder = spawn('flock', ['-x', path, 'sleep', '60'], { detached: true });
        let code = 'none';
        for (let i = 0; i < 100 && code === 'none'; i++) {
            code = await codeOf(async () => (await open('store', { directory, lockTimeout: 0 })).close());
        }
        expect(code).to.equal('LOCKED');
        process.kill(-holder.pid, 'SIGKILL');
        const after = await open('store', { directory, mustExist: true });
        expect(after.table('rows').liveCount).to.equal(1);
        await after.close();
    }).timeout(60_000);

    it('keep processes apart by a lock file where there is no flock command', async () => {
        const { PATH } = process.env;
        process.env.PATH = directory;
        try {
            const db = await filled(directory, [1]);
            expect(fs.readdirSync(directory)).to.include('store.velta-lock');
            expect(await codeOf(() => open('store', { directory, lockTimeout: 50 }))).to.equal('LOCKED');
            await db.close();
            expect(fs.readdirSync(directory)).not.to.include('store.velta-lock');
            /* Of processes that are gone: a number that no process has, and this one's of another time. */
            for (const dead of ['4194305 1', `${process.pid} 1`]) {
                fs.writeFileSync(`${directory}/store.velta-lock`, dead);
                expect(await keysIn(directory)).to.deep.equal([1]);
            }
            fs.writeFileSync(`${directory}/store.velta-lock`, '');
            expect(await codeOf(() => open('store', { directory, lockTimeout: 50 }))).to.equal('LOCKED');
            fs.utimesSync(`${directory}/store.velta-lock`, 1, 1);
            expect(await keysIn(directory)).to.deep.equal([1]);
        } finally {
            process.env.PATH = PATH;
        }
    });

    it('say IO where there is no folder to write, and read what may only be read', async () => {
        fs.writeFileSync(`${directory}/plain`, 'x');
        expect(await codeOf(() => open('a', { directory: `${directory}/plain` }))).to.equal('IO');
        expect(await listDatabases({ directory: `${directory}/absent` })).to.deep.equal([]);
        const db = await open('a', { directory: `${directory}/new/folder` });
        await db.close();
        expect(fs.existsSync(`${directory}/new/folder/a.velta-log`)).to.equal(true);
        fs.writeFileSync(`${directory}/broken.velta`, 'no store');
        const error = await errorOf(() => open('broken', { directory }));
        expect(error.code).to.equal('CORRUPT');
        expect(fs.readFileSync(`${directory}/broken.velta`, 'utf8')).to.equal('no store');
    });

    it('hold no descriptor after any outcome', async () => {
        const count = () => fs.readdirSync('/proc/self/fd').length;
        const db = await filled(directory, [1]);
        await db.close();
        const held = count();
        for (let i = 0; i < 5; i++) {
            const open1 = await open('store', { directory });
            await codeOf(() => open('store', { directory, lockTimeout: 0 }));
            await open1.close();
            await codeOf(() => open('store', { directory, memoryBudget: 1 }));
            await codeOf(() => open('absent', { directory, mustExist: true }));
            await codeOf(() => restore('store', new Uint8Array(9), { directory }));
            await deleteDatabase('absent', { directory });
        }
        expect(count()).to.equal(held);
    });
});

/** What a call of the system may do instead of its work. */
const FAULTS = {
    EIO: () => {
        throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
    },
    ENOSPC: () => {
        throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    },
    /** Half of it, then nothing more. */
    short: (real, parameters, fault) => {
        const [descriptor, bytes, offset, length, position] = parameters;
        if (fault.rest) return 0;
        fault.rest = true;
        return real(descriptor, bytes, offset, length >> 1, position);
    },
    long: (real, parameters) => real(...parameters) + 1,
};

inNode('failing calls of the system', () => {
    let fs;
    before(async () => {
        await init();
        fs = (await import('node:fs')).default;
    });

    /** One life in which the n-th call of `method` fails. */
    async function life(method, kind, nth) {
        const directory = await temporaryFolder();
        await (await filled(directory, [100, 101])).close();
        const real = fs[method];
        const acknowledged = [100, 101];
        const codes = [];
        const fault = {};
        let calls = 0;
        let db;
        fs[method] = (...parameters) => {
            calls += 1;
            const fails = calls === nth || (kind === 'short' && fault.rest && calls === nth + 1);
            return fails ? FAULTS[kind](real, parameters, fault) : real(...parameters);
        };
        try {
            db = await open('store', { directory, autoIndex: false, checkpointSeconds: Infinity, lockTimeout: 0 });
            for (let id = 0; id < 6; id++) {
                codes.push(await codeOf(() => db.table('rows').insert(row(id))));
                if (codes.at(-1) === 'none') acknowledged.push(id);
                if (id % 3 === 2) codes.push(await codeOf(() => db.checkpoint()));
            }
            codes.push(await codeOf(() => db.close()));
        } catch (error) {
            codes.push(error.code);
        } finally {
            fs[method] = real;
        }
        const found = await keysIn(directory);
        const what = `${method} ${nth} ${kind}: ${codes}`;
        expect(
            acknowledged.filter((id) => !found.includes(id)),
            what,
        ).to.deep.equal([]);
        expect(found.length - acknowledged.length, what).to.be.within(0, 1);
        const failed = codes.findIndex((code) => code !== 'none');
        if (calls >= nth && failed >= 0) {
            expect(codes[failed], what).to.equal(kind === 'ENOSPC' ? 'FULL' : 'IO');
            for (const code of codes.slice(failed + 1)) expect(code, what).to.be.oneOf(['POISONED', 'none']);
            expect(codes.slice(failed + 1, -1), what).not.to.include('none');
        }
        return calls >= nth ? failed >= 0 : null;
    }

    for (const [method, kinds] of [
        ['writeSync', ['EIO', 'ENOSPC', 'short', 'long']],
        ['fdatasyncSync', ['EIO', 'ENOSPC']],
        ['ftruncateSync', ['EIO', 'ENOSPC']],
        ['readSync', ['EIO', 'short', 'long']],
    ]) {
        for (const kind of kinds) {
            it(`${method} with ${kind}, each in turn: nothing that was acknowledged is lost`, async () => {
                let told = 0;
                for (let nth = 1; ; nth++) {
                    const outcome = await life(method, kind, nth);
                    if (outcome === null) break;
                    told += outcome;
                }
                expect(told).to.be.greaterThan(1);
            }).timeout(60_000);
        }
    }
});

inNode('restoring and deleting, cut off', () => {
    const METHODS = ['openSync', 'writeSync', 'fsyncSync', 'ftruncateSync', 'renameSync', 'unlinkSync'];
    let fs;
    let snapshot;
    before(async () => {
        await init();
        fs = (await import('node:fs')).default;
        const other = createDatabase();
        other.table('rows', SCHEMA).insert([50, 51, 52].map(row));
        snapshot = other.export();
        await other.close();
    });

    /** Runs `work`, in which the n-th call that changes a file, and every one after it, does nothing: as in a crash. */
    async function cutOff(nth, work) {
        const real = Object.fromEntries(METHODS.map((method) => [method, fs[method]]));
        let calls = 0;
        for (const method of METHODS) {
            fs[method] = (...parameters) => {
                if (method === 'openSync' && parameters[1] === 'r') return real[method](...parameters);
                calls += 1;
                if (calls >= nth) throw Object.assign(new Error('the process is gone'), { code: 'EIO' });
                return real[method](...parameters);
            };
        }
        try {
            await codeOf(work);
        } finally {
            Object.assign(fs, real);
        }
        return calls >= nth;
    }

    async function outcomes(prepare, work) {
        const seen = new Map();
        for (let nth = 1; ; nth++) {
            const directory = await temporaryFolder();
            await prepare(directory);
            const isCut = await cutOff(nth, () => work(directory));
            const keys = String(await keysIn(directory));
            seen.set(keys, (seen.get(keys) ?? 0) + 1);
            const left = fs.readdirSync(directory).filter((name) => /-restore|-lock/.test(name));
            if (keys !== 'null') expect(left).to.deep.equal([]);
            if (!isCut) return { seen, last: keys };
        }
    }

    for (const [what, prepare, old] of [
        ['a store with a log', (directory) => filled(directory, [1, 2]).then((db) => db.close()), '1,2'],
        [
            'a store restored before, with changes',
            async (directory) => {
                await restore('store', snapshot, { directory });
                const db = await open('store', { directory, autoIndex: false });
                db.table('rows').insert(row(60));
                await db.close();
            },
            '50,51,52,60',
        ],
        [
            'a store with checkpoints',
            async (directory) => {
                const db = await filled(directory, [1, 2]);
                for (const id of [3, 4, 5]) {
                    db.checkpoint();
                    db.table('rows').insert(row(id));
                }
                await db.close();
            },
            '1,2,3,4,5',
        ],
        ['nothing', () => Promise.resolve(), 'null'],
    ]) {
        it(`a restore over ${what}, at every call: the old store or the snapshot, whole`, async () => {
            const { seen, last } = await outcomes(prepare, (directory) => restore('store', snapshot, { directory }));
            expect(last).to.equal('50,51,52');
            expect([...seen.keys()].sort()).to.deep.equal([old, '50,51,52'].sort());
        }).timeout(60_000);
    }

    it('a deletion, at every call: the store or nothing', async () => {
        const prepare = (directory) => filled(directory, [1, 2]).then((db) => db.close());
        const { seen, last } = await outcomes(prepare, (directory) => deleteDatabase('store', { directory }));
        expect(last).to.equal('null');
        expect([...seen.keys()].sort()).to.deep.equal(['1,2', 'null']);
    }).timeout(60_000);

    it('is finished by a reader, too', async () => {
        const directory = await temporaryFolder();
        await (await filled(directory, [1, 2])).close();
        await cutOff(9, () => restore('store', snapshot, { directory }));
        expect(fs.statSync(`${directory}/store.velta`).size).to.equal(512);
        const db = await open('store', { directory, readOnly: true });
        expect(db.table('rows').all().keys()).to.deep.equal([50, 51, 52]);
        await db.close();
    });
});

inNode('a process that is killed', () => {
    it('loses nothing that it acknowledged, and its lock goes with it', async () => {
        const random = randomFrom(7);
        const directory = await temporaryFolder();
        const ledger = [];
        for (let kill = 0; kill < 8; kill++) {
            const realm = await openRealm(new URL('./realms/writer.js', import.meta.url), { separate: true });
            const options = { storage: 'file', directory, checkpointBytes: 8192 };
            const found = await realm.call('begin', 'ledger', options);
            for (const id of ledger) expect(found, `after ${kill} kills`).to.include(id);
            let isDead = false;
            setTimeout(
                () => {
                    isDead = true;
                    void realm.kill();
                },
                50 + random.below(200),
            );
            while (!isDead) {
                const written = await Promise.race([
                    realm.call('write', 1 + random.below(20)),
                    new Promise((resolve) => setTimeout(resolve, 400, [])),
                ]);
                ledger.push(...written);
            }
        }
        expect(ledger.length).to.be.greaterThan(30);
        const keys = await keysIn(directory, 'ledger', 3000); /* the last one killed may not be gone yet */
        expect(ledger.filter((id) => !keys.includes(id))).to.deep.equal([]);
    }).timeout(60_000);
});
