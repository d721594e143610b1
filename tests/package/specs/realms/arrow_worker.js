/*
 * A worker that imports Arrow into a stored database, sends what it exports of it, and imports that again
 * (arrow.spec.js). A worker of a browser knows no import map.
 */
const isNode = typeof process === 'object';
const folder = '/node_modules/velta/dist';
const { open } = await import(isNode ? 'velta' : `${folder}/velta.js`);
const { exportArrow, importArrow } = await import(isNode ? 'velta/arrow' : `${folder}/arrow.js`);
const threads = isNode ? await import('node:worker_threads') : null;
const port = threads?.parentPort ?? globalThis;

async function work({ url, name, options, where }) {
    const made = await open(name, options);
    const { rows, rowsRead } = await importArrow(made, await fetch(url), { table: 'rows', where });
    await made.close();
    const database = await open(name, { ...options, mustExist: true });
    const bytes = exportArrow(database.table('rows').where('flag'));
    const again = await importArrow(database, bytes, { table: 'again' });
    await database.close();
    const isMain = threads?.isMainThread ?? typeof document === 'object';
    return { rows, rowsRead, again: again.rows, bytes, isMain };
}

async function receive(asked) {
    try {
        port.postMessage(await work(asked));
    } catch (error) {
        port.postMessage({ error: String(error.stack) });
    }
}
if (isNode) port.on('message', receive);
else port.onmessage = ({ data }) => receive(data);
port.postMessage({ isReady: true });
