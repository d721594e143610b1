/*
 * Times, medians, the table, and the object that bench/run.sh merges into results.json.
 */
import { writeFileSync } from 'node:fs';

/** Seconds of this process's own work since `before`: what else runs on the machine disturbs them least. */
export function cpuSeconds(before = undefined) {
    const spent = process.cpuUsage(before);
    return (spent.user + spent.system) / 1e6;
}

/** Seconds that `work` took of the processor. */
export function timeCpu(work) {
    const before = process.cpuUsage();
    work();
    return cpuSeconds(before);
}

/** Seconds on the clock. */
export function timeWall(work) {
    const before = performance.now();
    work();
    return (performance.now() - before) / 1000;
}

export function median(values) {
    const sorted = [...values].sort((a, b) => a - b);
    const half = sorted.length >> 1;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Runs the named functions in turn, `rounds` times after one to warm up; medians of what each returned. */
export function interleave(rounds, functions) {
    const names = Object.keys(functions);
    const times = Object.fromEntries(names.map((name) => [name, []]));
    for (let round = 0; round <= rounds; round++)
        for (const name of names) {
            const seconds = functions[name]();
            if (round) times[name].push(seconds);
        }
    return Object.fromEntries(names.map((name) => [name, median(times[name])]));
}

/** The rate at a recall, read between the two nearest points of a sweep: log rate, linear recall. */
export function rateAt(points, recall) {
    const above = points.findIndex((point) => point.recall >= recall);
    if (above < 0) return 0;
    if (above === 0) return points[0].rate;
    const a = points[above - 1];
    const b = points[above];
    const part = (recall - a.recall) / (b.recall - a.recall);
    return Math.exp(Math.log(a.rate) * (1 - part) + Math.log(b.rate) * part);
}

function short(value) {
    if (value === undefined) return '-';
    return value >= 1000 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toPrecision(3);
}

/*
 * Rows are of two kinds, as in the native measurements: against a peer (`velta`, `peers`, `ratio` with its
 * `target_ratio`; more is better) and against a figure (`measured`, `target`, `ratio_to_target`; less is better unless
 * `least` is given).
 */
export class Report {
    #rows = [];

    constructor(question, path = process.argv[2]) {
        this.question = question;
        this.path = path;
        console.log(`\n${question}`);
    }

    /** More is better: `velta` beside `peers` ({ name: value }); `targets` ({ name: ratio }). */
    compare(what, unit, velta, peers, targets = {}, extra = {}) {
        const parts = Object.entries(peers).map(([name, value]) => {
            const target = targets[name] ? ` (target ${targets[name]})` : '';
            return `${name} ${short(value)}: ${short(velta / value)} x${target}`;
        });
        const note = Object.entries(extra).map(([name, value]) => `${name} ${value}`);
        console.log(`  ${what.padEnd(44)} ${short(velta).padStart(9)} ${unit}; ${[...parts, ...note].join('; ')}`);
        for (const [name, value] of Object.entries(peers)) {
            const row = { what: `${what}, beside ${name}`, unit, velta, [name]: value, ratio: velta / value };
            if (targets[name]) row.target_ratio = targets[name];
            this.#rows.push({ ...row, ...extra });
        }
        if (!Object.keys(peers).length) this.#rows.push({ what, unit, velta, ...extra });
        this.save();
    }

    /** Against a figure: at most `target`, or with { least: true } at least. */
    figure(what, unit, measured, target, { least = false, note = '' } = {}) {
        const row = { what, unit, measured };
        if (target !== undefined) {
            row.target = target;
            row.ratio_to_target = least ? target / measured : measured / target;
        }
        if (note) row.note = note;
        const bound = target === undefined ? '' : `  target ${least ? '>=' : '<='} ${short(target)}`;
        const verdict = target === undefined ? '' : row.ratio_to_target <= 1 ? '' : '  missed';
        console.log(`  ${what.padEnd(44)} ${short(measured).padStart(9)} ${unit}${bound}${verdict}  ${note}`);
        this.#rows.push(row);
        this.save();
    }

    save() {
        if (this.path) writeFileSync(this.path, JSON.stringify({ question: this.question, rows: this.#rows }, null, 1));
    }
}
