#!/usr/bin/env python3
"""Branch and line coverage of the engine from gcov's counters: a row per room and file, and the branches never taken.

usage: coverage.py BUILD/cov ROOM... ; VELTA_COVERAGE_MISSED=1 also lists the lines with branches that were not taken.
A branch counts as one way out of a condition. Not counted: the failing way of an assert (no test can take it), and
code of the standard headers. A header's functions count once, taken where any file that includes it took them.

tests/coverage_left.txt names every function that has branches which no test takes, with the reason: lines
"PATH FUNCTION: REASON", and with "#" comments. A function with such branches that is not named fails, as does a name
without them; where chance decides (threads, time, where memory lies) the reason begins with "at times" and may be idle.
Below 95 % of the branches of a room fails as well.
"""
import json
import os
import re
import subprocess
import sys
from collections import defaultdict

FLOOR = 95
LEFT = 'tests/coverage_left.txt'


def read_counters(folder):
    """{source: ({line: count}, {(line, index): count}, {line: function})}, summed over the objects that contain it."""
    sources = defaultdict(lambda: (defaultdict(int), defaultdict(int), {}))
    for base, _, names in os.walk(folder):
        for name in sorted(names):
            if not name.endswith('.gcda'):
                continue
            done = subprocess.run(['gcov', '--json-format', '--stdout', '--branch-probabilities',
                                   os.path.join(base, name)], capture_output=True, text=True, check=True)
            for report in done.stdout.splitlines():
                for file in json.loads(report)['files']:
                    lines, branches, functions = sources[file['file']]
                    for line in file['lines']:
                        number = line['line_number']
                        lines[number] += line['count']
                        if 'function_name' in line:
                            functions[number] = line['function_name']
                        for index, branch in enumerate(line['branches']):
                            branches[number, index] += branch['count']
    return sources


def without_asserts(source, branches):
    with open(source, encoding='utf-8') as file:
        text = file.read().split('\n')
    return {key: count for key, count in branches.items() if not re.match(r'\s*assert\(', text[key[0] - 1])}


def percent(part, whole):
    return '%6.1f %%' % (100 * part / whole) if whole else '      -  '


def read_left():
    """{(path, function): reason}"""
    left = {}
    with open(LEFT, encoding='utf-8') as file:
        for number, line in enumerate(file, 1):
            if line.strip() and not line.startswith('#'):
                found = re.match(r'(\S+) (\w+): (\S.*)$', line)
                if not found or (found[1], found[2]) in left:
                    sys.exit('%s:%d: "PATH FUNCTION: REASON" is wanted, once for each function' % (LEFT, number))
                left[found[1], found[2]] = found[3]
    return left


def print_rows(rooms, rows):
    """The table; returns the rooms below the floor."""
    low = []
    print('%-28s %9s %9s %9s %9s' % ('', 'lines', 'taken', 'branches', 'taken'))
    for room in rooms + ['']:
        inside = [row for row in rows if room in ('', row[0].split('/')[0])]
        sums = [sum(row[i] for row in inside) for i in range(1, 5)]
        if 100 * sums[2] < FLOOR * sums[3]:
            low.append(room + '/' if room else 'all')
        for name, *counts in (inside if room else []) + [(room + '/' if room else 'all', *sums)]:
            print('%-28s %9d %9s %9d %9s' % (name if name.endswith(('/', 'all')) else '  ' + name, counts[1],
                                             percent(counts[0], counts[1]), counts[3], percent(counts[2], counts[3])))
    return low


def main():
    folder, rooms = sys.argv[1], sys.argv[2:]
    rows, missed, by_function = [], [], defaultdict(list)
    for source, (lines, branches, functions) in sorted(read_counters(folder).items()):
        if source.split('/')[0] not in rooms or not os.path.exists(source):
            continue
        branches = without_asserts(source, branches)
        rows.append((source, sum(1 for n in lines.values() if n), len(lines), sum(1 for n in branches.values() if n),
                     len(branches)))
        for (line, _), count in sorted(branches.items()):
            if not count:
                by_function[source, functions.get(line, '?')].append(line)
                missed += ['%s:%d' % (source, line)] if '%s:%d' % (source, line) not in missed[-1:] else []
    low = print_rows(rooms, rows)
    if os.environ.get('VELTA_COVERAGE_MISSED'):
        print('\nlines with branches never taken:')
        print('\n'.join(missed))
    left = read_left()
    unnamed = {key: found for key, found in by_function.items() if key not in left}
    idle = [key for key, reason in left.items() if key not in by_function and not reason.startswith('at times')]
    for (source, function), found in sorted(unnamed.items()):
        print('%s:%s: %s has branches that no test takes; test them, or name it in %s' % (
            source, ','.join(str(line) for line in sorted(set(found))), function, LEFT))
    for source, function in idle:
        print('%s names %s %s, which has no branch left' % (LEFT, source, function))
    for room in low:
        print('%s: below %d %% of the branches' % (room, FLOOR))
    count = sum(row[4] for row in rows)
    taken = sum(row[3] for row in rows)
    not_named = sum(len(found) for found in unnamed.values())
    print('figure: branches %d\nfigure: branches_taken %d\nfigure: branches_named %d\nfigure: branches_unnamed %d' % (
        count, taken, count - taken - not_named, not_named))
    return 1 if unnamed or idle or low or not rows else 0


if __name__ == '__main__':
    sys.exit(main())
