/*
 * What the cases of the demo page share: the server, the list of cases and how they are run, screenshots, and what must
 * hold whatever was done.
 */
import assert from 'node:assert/strict';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { build, clean, root } from '../package/lib/tools.mjs';
import { Visitor, startServer } from './driver.mjs';
import { readExpected } from './expected.mjs';

const keep = process.argv.includes('--keep');
const wanted = process.argv.slice(2).find((word) => !word.startsWith('--')) ?? '';
const shots = join(build, 'demo');
export const dist = process.env.VELTA_DEMO_PACKAGE ?? join(build, 'package/dist');
export const data = join(build, 'demo/data');
export const expected = await readExpected();
export const server = await startServer();
const tests = [];
/** What is printed at the end: what was measured on the way. */
export const notes = [];

/** @param {object} [options] of the visitor; wishes: what follows the address */
export function test(name, options, run) {
    tests.push({ name, options, run });
}

export async function shotsFolder() {
    await mkdir(shots, { recursive: true });
    return shots;
}

export async function screenshot(page, name) {
    await shotsFolder();
    // As it looks at rest: the index is linked, nothing moves, and the mouse points at nothing.
    await page.mouse.move(5, 5);
    await page.waitForFunction(() =>
        [...document.querySelectorAll('#log-facts div')].some((fact) =>
            /^\s*To be linked\s*0\s*$/.test(fact.textContent),
        ),
    );
    await page.waitForTimeout(500);
    await page.screenshot({ path: join(shots, `${name}.png`) });
    if (keep) {
        await mkdir(join(root, 'docs/images'), { recursive: true });
        await copyFile(join(shots, `${name}.png`), join(root, 'docs/images', `${name}.png`));
    }
}

/** What must hold whatever was done: no complaint, no shift that the visitor did not ask for, nothing refused. */
export async function checkQuiet(visitor) {
    assert.deepEqual(visitor.complaints, []);
    const { shifts, violations } = await visitor.seen();
    assert.deepEqual(violations, []);
    const unasked = shifts.filter((shift) => !shift.hadRecentInput);
    const sum = unasked.reduce((total, shift) => total + shift.value, 0);
    assert.ok(sum < 0.005, `the layout shifted by ${sum.toFixed(4)}: ${JSON.stringify(unasked)}`);
    return { unasked: sum, all: shifts.reduce((total, shift) => total + shift.value, 0) };
}

/** Thumbs-up for the package at a place (from 1); resolves when the list has it. */
export async function vote(visitor, place) {
    const name = (await visitor.list())[place - 1].name;
    const changes = Number(await visitor.page.getAttribute('#time', 'max'));
    await visitor.page.click(`.package:nth-child(${place}) .up`);
    await visitor.page.waitForFunction((n) => Number(document.getElementById('time').max) === n, changes + 1);
    await visitor.settled();
    return name;
}

export const ranking = (list) => list.map(({ name, score }) => `${name} ${score}`);

/** Runs the cases whose names hold what was asked for. */
export async function runTests() {
    let [passed, failed] = [0, 0];
    for (const { name, options, run } of tests.filter((one) => one.name.includes(wanted))) {
        const started = performance.now();
        let visitor = null;
        try {
            visitor = options && (await Visitor.arrive({ address: server.address, ...options }));
            await run(visitor);
            passed += 1;
            console.log(`ok   ${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s  ${name}`);
        } catch (error) {
            failed += 1;
            console.log(
                `FAIL ${name}\n${error.stack}\ncomplaints: ${JSON.stringify(visitor?.complaints ?? [], null, 1)}`,
            );
            await visitor?.page
                .screenshot({ path: join((await mkdir(shots, { recursive: true })) ?? shots, 'failed.png') })
                .catch(() => undefined);
        }
        await visitor?.leave().catch(() => undefined);
    }
    if ((await server.stop()) !== 0) {
        failed += 1;
        console.log('FAIL the server did not end as it should');
    }
    await clean();
    for (const note of notes) console.log(`     ${note}`);
    if (passed + failed === 0) failed = 1;
    console.log(`${passed} passed, ${failed} failed`);
    process.exitCode = failed > 0 ? 1 : 0;
}
