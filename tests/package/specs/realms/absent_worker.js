/*
 * The package's worker in a browser that lacks what the address says: ?lacks=...
 */
import './lacking.js';
import '/node_modules/velta/dist/worker.js';
