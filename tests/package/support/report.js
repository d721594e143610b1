/*
 * A mocha reporter that turns a run into plain records, { kind: 'pass' | 'fail' | 'absent' | 'figure', title, … },
 * alike in Node and in browsers. A test that mocha skips counts as failed: what does not apply somewhere says so with
 * only() (harness.js), and is an 'absent' record.
 */

function describeError(error) {
    const message = `${error?.name ?? 'Error'}: ${error?.message ?? String(error)}`;
    const lines = [error?.code ? `${message} [${error.code}]` : message];
    if (error && 'expected' in error && 'actual' in error && error.showDiff) {
        const text = (value) => {
            try {
                return JSON.stringify(value, (_, item) => (typeof item === 'bigint' ? `${item}n` : item));
            } catch {
                return String(value);
            }
        };
        lines.push(`  expected: ${text(error.expected)}`, `  actual:   ${text(error.actual)}`);
    }
    const stack = String(error?.stack ?? '').split('\n');
    lines.push(...stack.filter((line) => /:\d+/.test(line) && !line.includes(String(error.message))).slice(0, 12));
    if (error?.cause) lines.push(`  because of ${describeError(error.cause)}`);
    return lines.join('\n');
}

/** A reporter class for Mocha whose records go to `emit`. */
export function reporterFor(emit) {
    return class {
        constructor(runner) {
            runner.on('pass', (test) => emit({ kind: 'pass', title: test.fullTitle(), ms: test.duration }));
            runner.on('fail', (test, error) => {
                emit({ kind: 'fail', title: test.fullTitle(), error: describeError(error) });
            });
            runner.on('pending', (test) => {
                emit({ kind: 'fail', title: test.fullTitle(), error: 'a skipped test; use only() of harness.js' });
            });
            runner.on('end', () => {
                for (const { title, reason } of globalThis.veltaAbsent ?? []) emit({ kind: 'absent', title, reason });
                for (const each of globalThis.veltaFigures ?? []) emit({ kind: 'figure', ...each });
            });
        }
    };
}

/** A run that could not even start. */
export function failedStart(title, error) {
    return { kind: 'fail', title, error: describeError(error) };
}
