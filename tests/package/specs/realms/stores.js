/*
 * Lives of stored databases, told as plain data, so that the same ones run in Node, in a page and in a worker. Each
 * function takes the package's exports, the storage options and a name that is new; specs judge what comes back.
 */
const SCHEMA = {
    id: { type: 'int', key: true, required: true },
    text: 'string',
    at: { type: 'vector', dimensions: 4 },
};

/** The error code of a call, or what it gave. */
async function codeOf(call) {
    try {
        await call();
        return 'none';
    } catch (error) {
        return error.code ?? String(error);
    }
}

function rowsFrom(first, count, text = 'row') {
    return Array.from({ length: count }, (_, i) => {
        const id = first + i;
        return { id, text: `${text} ${id}`, at: [id % 7, id % 11, 1, id % 3] };
    });
}

function fill(db, first, count, text) {
    db.table('rows', SCHEMA).insert(rowsFrom(first, count, text));
}

function digest(bytes) {
    let sum = 2166136261;
    for (const byte of bytes) sum = Math.imul(sum ^ byte, 16777619) >>> 0;
    return `${bytes.length} ${sum}`;
}

const stateOf = (db) => digest(db.export());

/** The module with memory that threads share, in a worker. */
export async function startThreads({ init }) {
    return (await init({ threads: 2 })).build;
}

/** Written, closed, opened again: the same bytes; deleted: gone. */
export async function wholeLife({ open, deleteDatabase, listDatabases }, options, name) {
    const listed = async () => (await listDatabases(listing(options))).includes(name);
    const before = await listed();
    let db = await open(name, options);
    const { storage } = db;
    fill(db, 0, 500);
    db.table('rows').update(3, { text: 'changed' });
    db.table('rows').delete(4);
    const first = stateOf(db);
    await db.close();
    db = await open(name, { ...options, mustExist: true });
    const second = stateOf(db);
    const row = db.table('rows').get(3).text;
    const gone = db.table('rows').get(4);
    await db.verify();
    db.checkpoint();
    fill(db, 1000, 10);
    db.compact();
    const third = stateOf(db);
    await db.close();
    db = await open(name, options);
    await db.verify();
    const fourth = stateOf(db);
    await db.close();
    const during = await listed();
    const deleted = [await deleteDatabase(name, placing(options)), await deleteDatabase(name, placing(options))];
    return {
        storage,
        before,
        during,
        after: await listed(),
        row,
        gone,
        deleted,
        states: [first, second, third, fourth],
    };
}

const listing = ({ storage, directory }) => (directory === undefined ? { storage } : { storage, directory });
const placing = ({ lockTimeout, ...options }) => ({
    ...listing(options),
    ...(lockTimeout === undefined ? {} : { lockTimeout }),
});

/** One writer, or readers; locks come back. */
export async function locks({ open, deleteDatabase, restore }, options, name) {
    const quick = { ...options, lockTimeout: 60 };
    const writer = await open(name, options);
    fill(writer, 0, 10);
    await writer.flush();
    const bytes = writer.export();
    const whileWritten = [
        await codeOf(() => open(name, quick)),
        await codeOf(() => open(name, { ...quick, readOnly: true })),
        await codeOf(() => deleteDatabase(name, placing(quick))),
        await codeOf(() => restore(name, bytes, placing(quick))),
    ];
    /* A second writer that waits gets it as soon as it is given back. */
    const waiting = open(name, options);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await writer.close();
    const second = await waiting;
    const count = second.table('rows').liveCount;
    await second.close();
    const reader = await open(name, { ...options, readOnly: true });
    const written = await codeOf(() => reader.table('rows').delete(1));
    const otherReader = await codeOf(async () => (await open(name, { ...quick, readOnly: true })).close());
    const whileRead = await codeOf(() => open(name, quick));
    const read = reader.table('rows').get(7).text;
    await reader.close();
    await deleteDatabase(name, placing(options));
    return { whileWritten, count, written, otherReader, whileRead, read };
}

/** What is not there, and openings that fail: nothing is made, no lock stays. */
export async function absences({ open, listDatabases, deleteDatabase }, options, name) {
    const codes = [
        await codeOf(() => open(name, { ...options, mustExist: true })),
        await codeOf(() => open(name, { ...options, readOnly: true })),
    ];
    const aborted = new AbortController();
    aborted.abort();
    codes.push(await codeOf(() => open(name, { ...options, signal: aborted.signal })));
    codes.push(await codeOf(() => open(name, { ...options, memoryBudget: 1 })));
    const made = (await listDatabases(listing(options))).includes(name);
    const db = await open(name, options);
    fill(db, 0, 3000);
    db.checkpoint();
    fill(db, 3000, 10);
    await db.flush();
    const late = new AbortController();
    const waiting = codeOf(() => open(name, { ...options, signal: late.signal }));
    setTimeout(() => late.abort(), 30);
    const whileWaiting = await waiting;
    const state = stateOf(db);
    await db.close();
    const seen = [];
    const onProgress = (done, total) => {
        seen.push([done, total]);
        return seen.length < 2;
    };
    const whileLoading = await codeOf(() => open(name, { ...options, onProgress, lockTimeout: 0 }));
    const reports = [];
    const again = await open(name, {
        ...options,
        lockTimeout: 0,
        onProgress: (done, total) => void reports.push(done / total),
    });
    const same = stateOf(again) === state;
    await again.close();
    await deleteDatabase(name, placing(options));
    return { codes, made, whileWaiting, whileLoading, same, reports };
}

/** A stored database becomes a snapshot, or stays as it was. */
export async function restoring({ open, restore, deleteDatabase }, options, name) {
    let db = await open(name, options);
    fill(db, 0, 2000, 'old');
    db.checkpoint();
    db.table('rows').delete([1, 2, 3]);
    const old = stateOf(db);
    const bytes = db.export();
    await db.close();
    const other = `${name} other`;
    db = await open(other, options);
    fill(db, 0, 300, 'new');
    const snapshot = db.export();
    await db.close();
    const damaged = snapshot.slice();
    damaged[damaged.length - 5] ^= 1;
    const refused = [
        await codeOf(() => restore(name, damaged, placing(options))),
        await codeOf(() => restore(name, snapshot.subarray(0, 9000), placing(options))),
        await codeOf(() => restore(name, new Uint8Array(0), placing(options))),
    ];
    const stateWhenOpened = async (which) => {
        const opened = await open(which, { ...options, mustExist: true });
        await opened.verify();
        const state = stateOf(opened);
        await opened.close();
        return state;
    };
    const untouched = (await stateWhenOpened(name)) === old;
    await restore(name, snapshot, placing(options));
    const replaced = (await stateWhenOpened(name)) === digest(snapshot);
    await restore(name, bytes, placing(options));
    const back = (await stateWhenOpened(name)) === digest(bytes);
    /* Over a database that only has a log, and to a name that is new. */
    const third = `${name} third`;
    await restore(third, snapshot, placing(options));
    db = await open(third, options);
    fill(db, 9000, 5);
    const grown = stateOf(db);
    await db.close();
    const grew = (await stateWhenOpened(third)) === grown;
    await restore(third, bytes, placing(options));
    const overLog = (await stateWhenOpened(third)) === digest(bytes);
    for (const each of [name, other, third]) await deleteDatabase(each, placing(options));
    return { refused, untouched, replaced, back, grew, overLog };
}

/** Names that file systems dislike. */
export async function names({ open, deleteDatabase, listDatabases }, options, name) {
    const wanted = [`${name}/..\\a:*?"<>|%41`, `${name} ä漢🎈`, `.${name}. `, `${name}\n`].sort();
    for (const each of wanted) {
        const db = await open(each, options);
        fill(db, 0, 1, each);
        await db.close();
    }
    const listed = (await listDatabases(listing(options))).filter((each) => each.includes(name));
    const texts = [];
    for (const each of listed) {
        const db = await open(each, { ...options, mustExist: true });
        texts.push(db.table('rows').get(0).text);
        await db.close();
        await deleteDatabase(each, placing(options));
    }
    const refused = [];
    for (const bad of ['', 'a\0', '\ud800', 'x'.repeat(201), 7]) refused.push(await codeOf(() => open(bad, options)));
    return { listed, wanted, texts, refused };
}

/** Many checkpoints by size, in strict and relaxed stores, with deletions; the state after each opening. */
export async function growth({ open, deleteDatabase }, options, name) {
    const outcomes = [];
    for (const durability of ['strict', 'relaxed']) {
        let same = true;
        let generation = 0;
        let state = null;
        for (let session = 0; session < 4; session++) {
            const db = await open(name, {
                ...options,
                durability,
                checkpointBytes: 20_000,
                checkpointSeconds: Infinity,
            });
            if (state !== null) same &&= stateOf(db) === state;
            for (let i = 0; i < 30; i++) {
                fill(db, session * 100_000 + i * 100, 100);
                if (i % 3 === 2) db.table('rows').delete(session * 100_000 + i * 100);
                if (i % 10 === 9) await db.flush();
            }
            if (session === 2) db.compact();
            await db.verify();
            state = stateOf(db);
            generation = db.log.status().generation;
            await db.close();
        }
        outcomes.push({ durability, same, generation });
        await deleteDatabase(name, placing(options));
    }
    return outcomes;
}
