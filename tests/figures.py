#!/usr/bin/env python3
"""What the tests counted, as a table: each promise of docs/RELIABILITY.md, its figures, and what is asked of them.

usage: figures.py BUILD [--tier test|soak|all]
Programs print lines "figure: NAME COUNT"; tests/run keeps them in BUILD/figures.json, where those of all programs are
summed here. BUILD/coverage.txt, the output of `make coverage`, adds its own: it is asked for in the tier "all" alone.
A figure that is missing or not what is asked fails; the exit code says so.
"""
import argparse
import json
import os
import re
import sys

FIGURE = re.compile(r'^figure: (\w+) (\d+)\s*$', re.M)


class Row:
    """One figure: at least `least` (in soaks `soak`), or exactly 0 where that is None."""

    def __init__(self, name, what, least=None, soak=None, tier='test'):
        self.name, self.what, self.least, self.soak, self.tier = name, what, least, soak or least, tier


# Promise, then its figures.
TABLE = [
    ('An acknowledged change survives a crash', [
        Row('crash_states', 'crash states of the storage protocol', 300_000, 100_000_000),
        Row('crash_violations', 'changes lost, halved or invented'),
        Row('crash_canaries_caught', 'left-out steps that were noticed', 7),
        Row('crash_replays_equal', 'seeds replayed, equal to the byte', 9),
        Row('store_crash_states', 'crash states of whole databases', 20_000, 1_000_000),
        Row('store_crash_violations', 'changes lost, halved or invented'),
    ]),
    ('Damage is detected', [
        Row('damage_bits_flipped', 'bits flipped', 100_000),
        Row('damage_frames_moved', 'frames swapped, repeated, dropped, stale', 100),
        Row('damage_unnoticed', 'returned as data'),
    ]),
    ('Salvage lists what is lost', [
        Row('salvage_states', 'damaged stores salvaged', 1_000),
        Row('salvage_listed_losses', 'losses listed', 1_000),
        Row('salvage_silent_losses', 'losses not listed'),
    ]),
    ('Refused memory leaves no trace', [
        Row('allocations_refused', 'allocations refused', 10_000),
        Row('refusal_differences', 'states changed by a refused call'),
        Row('growths_refused', 'growths of WebAssembly memory refused', 100),
        Row('arrays_refused', 'arrays of JavaScript refused', 100),
        Row('growth_differences', 'states changed by a refused call'),
    ]),
    ('Failing I/O is told', [
        Row('io_faults', 'operations made to fail', 5_000),
        Row('io_differences', 'changes lost or invented'),
    ]),
    ('Hostile bytes do no harm', [
        Row('fuzz_inputs', 'inputs fuzzed under ASan and UBSan', 100_000, 10_000_000),
        Row('parquet_damaged', 'Parquet files damaged at random', 1_000),
        Row('arrow_damaged', 'Arrow files damaged at random', 1_000),
        Row('fuzz_finds', 'crashes, hangs, leaks, wrong results'),
    ]),
    ('Answers are right', [
        Row('filter_queries', 'filters beside SQLite', 100_000),
        Row('filter_differences', 'differences'),
        Row('search_comparisons', 'searches beside a double loop', 1_000),
        Row('search_differences', 'differences'),
        Row('parquet_filters', 'filters over Parquet, pruned beside whole', 300),
        Row('model_operations', 'operations beside the model in JavaScript', 100_000, 1_000_000),
        Row('model_differences', 'differences'),
    ]),
    ('The index stays sound', [
        Row('hnsw_checks', 'whole indexes checked', 100),
        Row('hnsw_violations', 'broken invariants'),
    ]),
    ('The same bytes everywhere', [
        Row('life_builds', 'compilers, instruction sets, modules compared', 9),
        Row('life_differences', 'differences'),
    ]),
    ('A killed tab loses nothing', [
        Row('browser_kills', 'browsers killed', 20, 1_000),
        Row('browser_reloads', 'tabs reloaded, closed, crashed, workers ended', 40, 1_000),
        Row('browser_lost', 'acknowledged rows lost, batches halved'),
    ]),
    ('Several tabs do not corrupt', [
        Row('tab_kills', 'tabs killed while four write', 10, 100),
        Row('tab_writes', 'writes acknowledged', 1_000),
        Row('tab_shared_operations', 'operations of four tabs that share a store', 4_000, 80_000),
        Row('tab_double_commits', 'double commits'),
    ]),
    ('Storage that is full, blocked or absent', [
        Row('quota_refusals', 'inserts, checkpoints, compactions told FULL', 9),
        Row('quota_losses', 'acknowledged rows lost'),
        Row('storage_absences', 'ways of having no storage, each told', 5),
    ]),
    ('Tests reach the code', [
        Row('branches', 'branches of the engine', 1, tier='all'),
        Row('branches_taken', 'taken', 1, tier='all'),
        Row('branches_named', 'not taken, and named with a reason', 0, tier='all'),
        Row('branches_unnamed', 'not taken and without a reason', tier='all'),
    ]),
]


def read(build):
    """{name: sum} of all that was counted in this build folder."""
    sums = {}
    found = []
    try:
        with open(os.path.join(build, 'figures.json'), encoding='utf-8') as file:
            found = [pair for figures in json.load(file).values() for pair in figures.items()]
    except FileNotFoundError:
        pass
    try:
        with open(os.path.join(build, 'coverage.txt'), encoding='utf-8') as file:
            found += FIGURE.findall(file.read())
    except FileNotFoundError:
        pass
    for name, count in found:
        sums[name] = sums.get(name, 0) + int(count)
    return sums


def judge(row, count, tier):
    """What is asked, as text, and whether it is met."""
    if row.least is None:
        return '0', count == 0
    least = row.soak if tier == 'soak' else row.least
    return '>= %s' % format(least, ','), count is not None and count >= least


def table(sums, tier):
    """The lines of the table and the number of figures that are missing or not met. Tier None: only what was found."""
    lines, failures = [], 0
    for promise, rows in TABLE:
        shown = [row for row in rows if row.name in sums or (tier and (row.tier == 'test' or tier == 'all'))]
        if shown:
            lines.append(promise)
        for row in shown:
            count = sums.get(row.name)
            asked, met = judge(row, count, tier)
            failures += not met and tier is not None
            lines.append('  %-52s %15s   %-16s%s' % (row.what, '-' if count is None else format(count, ','), asked,
                                                  '' if met or not tier else ' NOT MET'))
    known = {row.name for _, rows in TABLE for row in rows}
    for name in sorted(set(sums) - known):
        lines.append('a figure without a row: %s %d' % (name, sums[name]))
        failures += 1
    return lines, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('build')
    parser.add_argument('--tier', choices=['test', 'soak', 'all'])
    arguments = parser.parse_args()
    lines, failures = table(read(arguments.build), arguments.tier)
    print('\n'.join(lines))
    print('%d figures not met' % failures)
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
