/*
 * Runs one spec file in a page; globalThis.veltaRecords fills with its records, and globalThis.veltaDone resolves.
 */
import { failedStart, reporterFor } from './report.js';

const query = new URLSearchParams(location.search);
const spec = query.get('spec');
globalThis.veltaRecords = [];
const emit = (record) => globalThis.veltaRecords.push(record);

document.addEventListener('securitypolicyviolation', (event) => {
    const what = `${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`;
    emit({ kind: 'fail', title: `${spec} broke the page's Content-Security-Policy`, error: what });
});

async function run() {
    const { mocha } = globalThis;
    mocha.setup({ ui: 'bdd', reporter: reporterFor(emit), timeout: 30_000, forbidOnly: true });
    if (query.get('grep')) mocha.grep(new RegExp(query.get('grep')));
    try {
        await import(spec);
    } catch (error) {
        return emit(failedStart(spec, error));
    }
    await new Promise((done) => mocha.run(done));
}

globalThis.veltaDone = run();
