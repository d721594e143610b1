#!/usr/bin/env python3
"""Branch and line coverage of the engine from gcov's counters: a row per room and file, and the branches never taken.

usage: coverage.py BUILD/cov ROOM... ; VELTA_COVERAGE_MISSED=1 also lists the lines with branches that were not taken.
A branch counts as one way out of a condition. Not counted: the failing way of an assert (no test can take it), and
code of the standard headers. A header's functions count once, taken where any file that includes it took them.
"""
import json
import os
import re
import subprocess
import sys
from collections import defaultdict


def read_counters(folder):
    """{source: ({line: count}, {(line, index): count})}, summed over the objects that contain the source."""
    sources = defaultdict(lambda: (defaultdict(int), defaultdict(int)))
    for base, _, names in os.walk(folder):
        for name in sorted(names):
            if not name.endswith('.gcda'):
                continue
            done = subprocess.run(['gcov', '--json-format', '--stdout', '--branch-probabilities',
                                   os.path.join(base, name)], capture_output=True, text=True, check=True)
            for report in done.stdout.splitlines():
                for file in json.loads(report)['files']:
                    lines, branches = sources[file['file']]
                    for line in file['lines']:
                        lines[line['line_number']] += line['count']
                        for index, branch in enumerate(line['branches']):
                            branches[line['line_number'], index] += branch['count']
    return sources


def without_asserts(source, branches):
    with open(source, encoding='utf-8') as file:
        text = file.read().split('\n')
    return {key: count for key, count in branches.items() if not re.match(r'\s*assert\(', text[key[0] - 1])}


def percent(part, whole):
    return '%6.1f %%' % (100 * part / whole) if whole else '      -  '


def main():
    folder, rooms = sys.argv[1], sys.argv[2:]
    rows, missed = [], []
    for source, (lines, branches) in sorted(read_counters(folder).items()):
        if source.split('/')[0] not in rooms or not os.path.exists(source):
            continue
        branches = without_asserts(source, branches)
        rows.append((source, sum(1 for n in lines.values() if n), len(lines), sum(1 for n in branches.values() if n),
                     len(branches)))
        missed += ['%s:%d' % (source, line) for line in sorted({key[0] for key, n in branches.items() if not n})]
    print('%-28s %9s %9s %9s %9s' % ('', 'lines', 'taken', 'branches', 'taken'))
    for room in rooms + ['']:
        inside = [row for row in rows if room in ('', row[0].split('/')[0])]
        sums = [sum(row[i] for row in inside) for i in range(1, 5)]
        for name, *counts in (inside if room else []) + [(room + '/' if room else 'all', *sums)]:
            print('%-28s %9d %9s %9d %9s' % (name if name.endswith(('/', 'all')) else '  ' + name, counts[1],
                                             percent(counts[0], counts[1]), counts[3], percent(counts[2], counts[3])))
    if os.environ.get('VELTA_COVERAGE_MISSED'):
        print('\nlines with branches never taken:')
        print('\n'.join(missed))
    return 0 if rows else 1


if __name__ == '__main__':
    sys.exit(main())
