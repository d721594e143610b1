/*
 * The checks of the component in Node; prints what they told as JSON.
 */
import { readFile } from 'node:fs/promises';
import { run } from './checks.js';

const told = await run((name) => readFile(new URL(`./transpiled/${name}`, import.meta.url)));
console.log(JSON.stringify(told));
