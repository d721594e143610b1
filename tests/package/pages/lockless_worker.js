/*
 * The package's worker with the locks of lockless.js.
 */
import './lockless.js';
import '/node_modules/velta/dist/worker.js';
