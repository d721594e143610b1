/*
 * Runs one spec file in a Node process: node node_main.js SPEC [GREP]. Records go to standard output, a line of JSON
 * after a mark for each. The process must then end by itself: velta may hold nothing open that a user did not.
 */
import { failedStart, reporterFor } from './report.js';

const [spec, grep] = process.argv.slice(2);
const emit = (record) => process.stdout.write(`\n\u001Fvelta ${JSON.stringify(record)}\n`);
const { default: Mocha } = await import('mocha');
const mocha = new Mocha({ ui: 'bdd', reporter: reporterFor(emit), timeout: 30_000, forbidOnly: true });
if (grep) mocha.grep(new RegExp(grep));
mocha.addFile(spec);
try {
    await mocha.loadFilesAsync();
    await new Promise((done) => mocha.run(done));
} catch (error) {
    emit(failedStart(spec, error));
}
setTimeout(() => {
    const error = `still alive after 5 s, because of ${process.getActiveResourcesInfo().join(', ')}`;
    emit({ kind: 'fail', title: `${spec} leaves its process running`, error });
    process.stdout.write('', () => process.exit(1));
}, 5000).unref();
