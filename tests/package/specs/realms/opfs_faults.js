/*
 * OPFS handles that fail, in a worker: the methods of the handles' class are replaced for a while.
 */
const ROW = { id: { type: 'int', key: true, required: true }, text: 'string' };
const row = (id) => ({ id, text: `text of ${id}` });

async function codeOf(call) {
    try {
        await call();
        return 'none';
    } catch (error) {
        return error.code ?? String(error);
    }
}

const FAULTS = {
    quota: () => {
        throw new DOMException('no room', 'QuotaExceededError');
    },
    failure: () => {
        throw new DOMException('the disk is gone', 'InvalidStateError');
    },
    short: (real, bytes, place) => real(bytes.subarray(0, bytes.length >> 1), place),
    long: (real, bytes, place) => real(bytes, place) + 1,
    none: () => 0,
    unknown: (real, bytes, place) => void real(bytes, place),
};

/** The n-th call of `method` fails as told; what was acknowledged before is there afterwards, and nothing half. */
export async function failingCall({ open, deleteDatabase }, options, name, method, fault, nth) {
    const { prototype } = FileSystemSyncAccessHandle;
    const real = prototype[method];
    let db = await open(name, options);
    db.table('rows', ROW).insert(row(100));
    await db.close();
    const acknowledged = [100];
    const codes = new Set();
    let calls = 0;
    prototype[method] = function failing(bytes, place) {
        calls++;
        if (calls !== nth) return real.call(this, bytes, place);
        return FAULTS[fault](real.bind(this), bytes, place);
    };
    try {
        db = await open(name, { ...options, autoIndex: false, checkpointSeconds: Infinity, lockTimeout: 0 });
        for (let id = 0; id < 6; id++) {
            const code = await codeOf(() => db.table('rows').insert(row(id)));
            codes.add(code);
            if (code === 'none') acknowledged.push(id);
            if (id % 3 === 2) codes.add(await codeOf(() => db.checkpoint()));
        }
        codes.add(await codeOf(() => db.close()));
    } catch (error) {
        codes.add(error.code ?? String(error));
    } finally {
        prototype[method] = real;
    }
    db = await open(name, { ...options, lockTimeout: 0 });
    await db.verify();
    const found = db.table('rows').all().keys();
    await db.close();
    await deleteDatabase(name, options);
    const lost = acknowledged.filter((id) => !found.includes(id));
    return { codes: [...codes], lost, found: found.length, acknowledged: acknowledged.length, met: calls >= nth };
}

/** A restore whose n-th write fails: the store is the old one or the new one when it is opened again. */
export async function failingRestore({ createDatabase, open, restore, deleteDatabase }, options, name, nth) {
    const { prototype } = FileSystemSyncAccessHandle;
    const { write } = prototype;
    const other = createDatabase();
    other.table('rows', ROW).insert([row(100), row(101)]);
    const snapshot = other.export();
    await other.close();
    let db = await open(name, options);
    db.table('rows', ROW).insert([row(1), row(2)]);
    await db.close();
    let calls = 0;
    prototype.write = function failing(bytes, place) {
        calls++;
        if (calls === nth) throw new DOMException('no room', 'QuotaExceededError');
        return write.call(this, bytes, place);
    };
    let code;
    try {
        code = await codeOf(() => restore(name, snapshot, options));
    } finally {
        prototype.write = write;
    }
    db = await open(name, { ...options, mustExist: true, lockTimeout: 0 });
    await db.verify();
    const keys = db.table('rows').all().keys().join();
    await db.close();
    await deleteDatabase(name, options);
    return { code, keys, calls };
}

/** Takes the handle of a database's file `data`, until this worker ends. */
export async function holdData(velta, directory, name) {
    let folder = await navigator.storage.getDirectory();
    for (const part of [...directory.split('/'), name]) folder = await folder.getDirectoryHandle(part);
    const file = await folder.getFileHandle('data');
    for (let left = 20; ; left--) {
        try {
            globalThis.heldData = await file.createSyncAccessHandle();
            return;
        } catch (error) {
            if (left === 0) throw error; /* a worker that has ended lets go of it a moment later */
            await new Promise((done) => setTimeout(done, 100));
        }
    }
}
