/*
 * What is checked of the component, in Node and in a page alike: run(load) gives { name, problem } of each. `fetchCore`
 * gives the bytes of a core module by its name.
 */
import * as velta from 'velta';
import { instantiate } from './transpiled/velta.js';
import * as hostile from './hostile.js';
import { sameLife } from './same.js';
import { must } from './tell.js';

/** Of the resource in the wit, its constructor aside. */
const FUNCTIONS = 10;
const MOST_PAGES = [0x80, 0x80, 0x04]; // 65,536 in LEB128

/** A core module whose memory may have `pages` at the most: the limit stands in its memory section, the fifth. */
function limited(bytes, pages) {
    let at = 8;
    const number = () => {
        let value = 0;
        for (let shift = 0; ; shift += 7) {
            const byte = bytes[at++];
            value += (byte & 0x7f) * 2 ** shift;
            if (byte < 0x80) return value;
        }
    };
    while (at < bytes.length) {
        const section = bytes[at++];
        const end = number() + at;
        if (section === 5) {
            const place = end - MOST_PAGES.length;
            if (!MOST_PAGES.every((byte, i) => bytes[place + i] === byte)) throw new Error('the limit is another');
            bytes.set([0x80 | (pages & 0x7f), 0x80 | ((pages >> 7) & 0x7f), pages >> 14], place);
        }
        at = end;
    }
    return bytes;
}

/** The functions of the wit, and how often each has answered. */
const answers = new Map();

function countAnswers(methods) {
    for (const name of Object.getOwnPropertyNames(methods)) {
        if (name === 'constructor') continue;
        const call = methods[name];
        answers.set(name, answers.get(name) ?? 0);
        methods[name] = function (...given) {
            const answer = call.apply(this, given);
            answers.set(name, answers.get(name) + 1);
            return answer;
        };
    }
}

/** A component of its own: its Database, its clock, how much memory it has. */
async function loadComponent(fetchCore, { maxPages } = {}) {
    const clock = { now: () => BigInt(Date.now()) };
    let memory;
    const compile = async (name) => {
        const bytes = await fetchCore(name);
        return WebAssembly.compile(maxPages && name === 'velta.core.wasm' ? limited(bytes, maxPages) : bytes);
    };
    const instantiateCore = async (module, imports) => {
        const instance = await WebAssembly.instantiate(module, imports);
        memory ??= instance.exports.memory;
        return instance;
    };
    const imports = { 'velta:store/clock': { now: () => clock.now() } };
    const { vectors } = await instantiate(compile, imports, instantiateCore);
    countAnswers(vectors.Database.prototype);
    return { Database: vectors.Database, clock, memoryBytes: () => memory.buffer.byteLength };
}

export async function run(fetchCore) {
    const load = (options) => loadComponent(fetchCore, options);
    await velta.init();
    const checks = {
        ...Object.fromEntries(
            ['cosine', 'l2', 'dot'].map((metric, i) => [
                `the same life, ${metric}`,
                async () => sameLife(await load(), metric, 100 + i),
            ]),
        ),
        options: async () => hostile.options(await load()),
        deltas: async () => hostile.deltas(await load()),
        questions: async () => hostile.questions(await load()),
        bytes: async () => hostile.bytes(await load()),
        'a memory budget': async () => hostile.budget(await load()),
        expiry: async () => hostile.expiry(await load(), velta),
        clocks: () => hostile.clocks(load),
        memory: () => hostile.memory(load),
        'scarce memory': () => hostile.scarce(load),
        'every function has answered': () => {
            const silent = [...answers].filter(([, count]) => count === 0).map(([name]) => name);
            must(answers.size === FUNCTIONS && silent.length === 0, () => `${answers.size} functions; not ${silent}`);
        },
    };
    const told = [];
    for (const [name, check] of Object.entries(checks)) {
        let problem = null;
        await Promise.resolve()
            .then(check)
            .catch((error) => (problem = String(error.stack ?? error)));
        told.push({ name, problem });
    }
    return told;
}
