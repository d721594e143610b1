#!/usr/bin/env python3
"""How much of the code that each fuzz target aims at its committed inputs reach: lines and branches, file by file.

usage: coverage.py PROGRAM... (of the variant fuzzcov: clang's source-based counters). Inputs: tests/corpus/NAME, run
one by one, nothing is mutated. Prints a table for each target and a figure for all of them.
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

AIMS = {
    'abi': ['wasm/exports.c', 'store/[!hs]*.c', 'core/column_check.c', 'delta/record_write.c'],
    'delta_codec': ['delta/record_*.c', 'delta/plane_code.c'],
    'filter': ['core/filter*.c', 'core/number.c', 'core/time_text.c'],
    'import': ['cli/columns.c', 'cli/rows.c', 'cli/schema.c', 'cli/vectors.c'],
    'log': ['delta/storage_open.c', 'delta/record_body.c', 'delta/record_read.c', 'store/replay.c', 'store/apply.c'],
    'manifest': ['delta/storage*.c', 'store/checkpoint.c', 'store/database.c', 'store/salvage*.c'],
    'snapshot': ['delta/snapshot*.c', 'delta/history_image.c', 'core/column_image.c', 'core/table_load.c',
                 'hnsw/image.c', 'hnsw/check.c'],
}
KINDS = ('lines', 'branches')


def tool(name):
    """clang-14 goes with llvm-cov-14."""
    return name + os.environ.get('CLANG', 'clang').removeprefix('clang')


def counters_of(program, inputs, folder):
    """The summary of each file of the tree: {name: {kind: (covered, count)}}"""
    raw, merged = os.path.join(folder, 'raw'), os.path.join(folder, 'merged')
    run = subprocess.run([program, '-timeout=60'] + inputs, env=dict(os.environ, LLVM_PROFILE_FILE=raw),
                         capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit('%s fails over its inputs:\n%s' % (program, run.stderr[-4000:]))
    subprocess.run([tool('llvm-profdata'), 'merge', '-sparse', raw, '-o', merged], check=True)
    told = subprocess.run([tool('llvm-cov'), 'export', '-summary-only', '-instr-profile=' + merged, program],
                          capture_output=True, text=True, check=True)
    return {os.path.relpath(file['filename']): {kind: (file['summary'][kind]['covered'], file['summary'][kind]['count'])
                                                for kind in KINDS}
            for file in json.loads(told.stdout)['data'][0]['files']}


def percent(covered, count):
    return '%5.1f %%' % (100 * covered / count) if count else '      -'


def report(program):
    """Prints a target's table; gives its sums."""
    name = os.path.basename(program).removeprefix('fuzz_')
    inputs = sorted(glob.glob(os.path.join('tests', 'corpus', name, '*')))
    aims = sorted({file for pattern in AIMS.get(name, []) for file in glob.glob(pattern)})
    if not inputs or not aims:
        sys.exit('%s: no inputs, or nothing to aim at' % name)
    with tempfile.TemporaryDirectory() as folder:
        files = counters_of(program, inputs, folder)
    sums = {kind: [0, 0] for kind in KINDS}
    print('%s, %d inputs' % (name, len(inputs)))
    for file in aims:
        counters = files.get(file)
        if not counters:  # another system's
            continue
        print('  %-28s %s  %s' % (file, *(percent(*counters[kind]) for kind in KINDS)))
        for kind in KINDS:
            for i in range(2):
                sums[kind][i] += counters[kind][i]
    print('  %-28s %s  %s' % ('', *(percent(*sums[kind]) for kind in KINDS)))
    return sums


def main():
    print('%-30s %7s  %7s' % ('', 'lines', 'branches'))
    totals = [report(program) for program in sys.argv[1:]]
    for kind in KINDS:
        covered, count = (sum(total[kind][i] for total in totals) for i in range(2))
        print('%s reached by the inputs, of those aimed at: %s' % (kind, percent(covered, count).strip()))
    return 0


if __name__ == '__main__':
    sys.exit(main())
