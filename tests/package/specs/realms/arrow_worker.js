/*
 * A worker that imports Arrow into a stored database, sends what it exports of it, and imports that again
 * (arrow.spec.js).
 */
import { answer, entry, isMain } from './asked.js';

const { open } = await entry('velta');
const { exportArrow, importArrow } = await entry('arrow');

answer(async ({ url, name, options, where }) => {
    const made = await open(name, options);
    const { rows, rowsRead } = await importArrow(made, await fetch(url), { table: 'rows', where });
    await made.close();
    const database = await open(name, { ...options, mustExist: true });
    const bytes = exportArrow(database.table('rows').where('flag'));
    const again = await importArrow(database, bytes, { table: 'again' });
    await database.close();
    return { rows, rowsRead, again: again.rows, bytes, isMain };
});
