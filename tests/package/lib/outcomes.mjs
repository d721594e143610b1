/*
 * How the runners end: conclude(work) gives `work` an Outcomes to count in, prints what it threw as a failure, the
 * figures, and the last line, "N passed, N failed", which tests/run reads; then the process ends.
 */
import { clean } from './tools.mjs';

export class Outcomes {
    passed = 0;
    failed = 0;
    #figures = new Map();

    /** One case: a line that says what it was, and what was wrong with it. Whether nothing was. */
    tell(what, problems = []) {
        console.log([problems.length ? 'FAIL' : 'ok  ', what, problems.join('; ')].filter(Boolean).join(' '));
        this.add(problems.length ? 0 : 1, problems.length ? 1 : 0);
        return problems.length === 0;
    }

    add(passed, failed) {
        this.passed += passed;
        this.failed += failed;
    }

    /** Adds to a figure; a figure that is 0 is told as well. */
    count(name, more) {
        this.#figures.set(name, (this.#figures.get(name) ?? 0) + more);
    }

    print() {
        for (const [name, count] of this.#figures) console.log(`figure: ${name} ${count}`);
        if (this.passed + this.failed === 0) {
            console.log('no test ran');
            this.failed = 1;
        }
        console.log(`${this.passed} passed, ${this.failed} failed`);
    }
}

export async function conclude(work) {
    const outcomes = new Outcomes();
    try {
        await work(outcomes);
    } catch (error) {
        console.log(error.stack ?? String(error));
        outcomes.failed += 1;
    }
    await clean();
    outcomes.print();
    process.exit(outcomes.failed ? 1 : 0);
}
