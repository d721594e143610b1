/*
 * Linking with the threads build in Node, one thread beside two, on debpkg. Time passed counts; each number of threads
 * has a process of its own, and they take turns.
 *
 * usage: threads.mjs [RESULT.json]; with --threads N it links once and prints the seconds
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { NativePeer } from './lib/peer.mjs';
import { median, Report, timeWall } from './lib/report.mjs';
import { fill, link, loadVelta } from './lib/velta.mjs';

const ROUNDS = 2;

if (process.argv[2] === '--threads') {
    const velta = await loadVelta({ build: 'threads', threads: Number(process.argv[3]) });
    const peer = new NativePeer('debpkg');
    const data = await peer.data();
    peer.close();
    const { database } = fill(velta, data);
    console.log(
        timeWall(() => link(database)),
        data.rows,
    );
    await database.close();
    process.exit(0); // the threads wait for work
}

const report = new Report('in WebAssembly: linking with threads, Node');
const seconds = { 1: [], 2: [] };
let rows = 0;
for (let round = 0; round < ROUNDS; round++)
    for (const threads of [1, 2]) {
        const arguments_ = [fileURLToPath(import.meta.url), '--threads', String(threads)];
        const [took, count] = execFileSync(process.execPath, arguments_, { encoding: 'utf8' }).split(' ').map(Number);
        seconds[threads].push(took);
        rows = count;
    }
const rate = (threads) => rows / median(seconds[threads]);
report.compare('two threads', 'rows/s', rate(2), { 'one thread': rate(1) }, { 'one thread': 1.8 });
