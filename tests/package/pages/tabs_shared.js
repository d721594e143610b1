/*
 * One of the tabs of tabs_shared.mjs: opens the store that all of them share, and works on it until the server says
 * that its place has done enough. The server hears what is about to be done and what was acknowledged, so that the
 * ledger outlives the tab. The address says which storage and which place; without them the page does nothing. With
 * ?mode=careless a change of each group is made twice, a fault on purpose. Tabs at odd places have a copy of the store.
 */
import { key, openShared, vector } from '/node_modules/velta/dist/velta.js';
import { tell as tellServer } from './tell.js';

const query = new URLSearchParams(location.search);
const [storage, place] = [query.get('storage'), Number(query.get('place'))];
const isCareless = query.get('mode') === 'careless';
const GROUP = 25;
const tell = (route, value) => tellServer(route, { place, ...value });

/** Looks at a few rows through a table that is asked for anew; an iterator may go with the tab that had the store. */
async function look(db) {
    const rows = await db.table('rows');
    try {
        const iterator = await rows.iterate();
        await iterator.nextBatch(3);
        await iterator.close();
    } catch (error) {
        if (error.code !== 'CLOSED') throw error;
    }
}

/** Every third operation reads what was acknowledged, the others insert a row or add one to this life's counter. */
function operate({ db, rows, counters, life, done }, number) {
    const id = life * 1_000_000 + number;
    if (number % 3 === 0) return rows.insert({ id, life });
    if (number % 3 === 1) return counters.apply(life, { type: 'offset', amount: 1 });
    if (number % GROUP === 2) return look(db);
    const known = done[(number * 7919) % done.length];
    if (known === undefined) return rows.has(id);
    return rows.get(known).then((row) => {
        if (row?.life !== life) throw new Error(`row ${known} was acknowledged and is ${JSON.stringify(row)}`);
    });
}

async function work(db, life) {
    const rows = await db.table('rows', { id: key('int'), life: 'int' });
    const counters = await db.table('counters', { life: key('int'), n: vector(1, { metric: 'l2' }) });
    await counters.insert({ life, n: [0] });
    const state = { db, rows, counters, life, done: [] };
    for (let first = 0; ; first += GROUP) {
        const numbers = Array.from({ length: GROUP }, (_, i) => first + i);
        await tell('/sending', { life, numbers });
        const results = await Promise.allSettled(numbers.map((number) => operate(state, number)));
        const acknowledged = [];
        const uncertain = [];
        for (const [i, { status, reason }] of results.entries()) {
            if (status === 'fulfilled') acknowledged.push(numbers[i]);
            else if (reason.code === 'UNCERTAIN' && numbers[i] % 3 < 2) uncertain.push(numbers[i]);
            else throw reason;
        }
        if (isCareless) {
            const again = acknowledged.filter((number) => number % 3 === 1);
            await Promise.allSettled(again.slice(0, 1).map((number) => operate(state, number)));
        }
        state.done.push(...acknowledged.filter((n) => n % 3 === 0).map((n) => life * 1_000_000 + n));
        const { isEnough } = await tell('/acknowledged', { life, acknowledged, uncertain, isLeader: db.isLeader });
        if (isEnough) return;
    }
}

async function live() {
    const { life } = await tell('/begin', {});
    const options = { storage, checkpointBytes: 200_000, checkpointSeconds: 1, autoIndex: false };
    const db = await openShared('shared', { ...options, replica: place % 2 === 1 });
    await work(db, life);
    globalThis.whatIsThere = async () => {
        const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', await db.export()));
        return { digest: digest.join(), isLeader: db.isLeader, isReplica: db.isReplica };
    };
}

if (storage) {
    await live().catch(async (error) => {
        /* The life's counter may be there or not: another life is as good. */
        if (error.code === 'UNCERTAIN') location.reload();
        else await tell('/failed', { error: `${storage}: ${error.code ?? ''} ${error} ${error.stack ?? ''}` });
    });
}
