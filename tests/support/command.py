"""Shared by the scripts that run the command as a user would: temporary folders, small data, runs and their checks.

A script defines functions named test_*, each taking a folder of its own, and ends with run_tests(globals()). The
command under test is $VELTA_COMMAND_ASAN unless a run asks for the fast one. A sanitizer's report fails the test,
whatever exit code was expected.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import traceback

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('VELTA_BUILD', ROOT / 'build'))
FAST = os.environ.get('VELTA_COMMAND', str(BUILD / 'velta'))
CHECKED = os.environ.get('VELTA_COMMAND_ASAN', str(BUILD / 'asan' / 'velta'))
SOAK = 'VELTA_SOAK' in os.environ
DATA = pathlib.Path(os.environ.get('VELTA_DATA', ROOT.parent / 'shared' / 'data' / 'debpkg'))
SLICE = ROOT / 'demo' / 'data'

# Distances are of unit vectors in these tests; those that matter are compared by number.
WORDS = ['red', 'green', 'blue', 'round', 'flat']


class Ran:
    """What one run of the command answered."""

    def __init__(self, code, out, error):
        self.code, self.out, self.error = code, out, error

    def json_lines(self):
        return [json.loads(line) for line in self.out.splitlines()]


def velta(*arguments, code=0, fast=False, says=None, stdin=None, folder=None):
    """Runs the command, checks its exit code (one, or a tuple of allowed ones), and what its messages must hold."""
    done = subprocess.run([FAST if fast else CHECKED, *map(str, arguments)], capture_output=True, text=True,
                          check=False, input=stdin if stdin is not None else '', cwd=folder)
    shown = 'velta %s\nexit code %d\n%s%s' % (' '.join(map(str, arguments)), done.returncode, done.stdout[-2000:],
                                            done.stderr[-4000:])
    assert 'Sanitizer' not in done.stderr and 'runtime error' not in done.stderr, shown
    expected = code if isinstance(code, tuple) else (code,)
    assert done.returncode in expected, 'expected exit code %s\n%s' % (code, shown)
    for part in [says] if isinstance(says, str) else says or []:
        assert part in done.stderr, 'expected %r in the messages\n%s' % (part, shown)
    if done.returncode == 0:
        assert says or not done.stderr, 'it should be quiet in a pipe\n' + shown
    else:
        assert done.stderr.startswith('velta'), 'a message says who speaks\n' + shown
    return Ran(done.returncode, done.stdout, done.stderr)


def unit_vectors(count, dimensions, seed=1):
    vectors = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_rows(path, rows):
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return path


def small_rows(count):
    return [{'id': 'row-%d' % i, 'group': WORDS[i % 5], 'number': i * 3 - 7, 'share': i / 8, 'even': i % 2 == 0,
             'note': None if i % 4 == 0 else 'näme %d' % i} for i in range(count)]


def small_store(folder, count=60, dimensions=8, name='small.velta', **options):
    """A store with one table 'things' of small rows and vectors; returns its path and the vectors."""
    vectors = unit_vectors(count, dimensions)
    np.save(folder / 'vectors.npy', vectors)
    write_rows(folder / 'things.jsonl', small_rows(count))
    store = folder / name
    velta('import', '--vectors', 'v=%s' % (folder / 'vectors.npy'), folder / 'things.jsonl', store, **options)
    return store, vectors


def exported(store, **options):
    """The bytes of an export: equal when the state is."""
    path = store.with_suffix('.exported')
    velta('export', store, path, **options)
    content = path.read_bytes()
    path.unlink()
    return content


def facts(store, **options):
    return json.loads(velta('inspect', '--json', store, **options).out)


def run_tests(names):
    """Runs every test_* of a script, each in a folder of its own, and prints the count that the runner reads."""
    passed = failed = 0
    wanted = sys.argv[1:]
    for name, function in names.items():
        if not name.startswith('test_') or not callable(function) or (wanted and name not in wanted):
            continue
        with tempfile.TemporaryDirectory(prefix='velta-test-') as folder:
            try:
                function(pathlib.Path(folder))
                passed += 1
            except Exception:  # any failure is the test's
                failed += 1
                print('FAILED %s' % name)
                traceback.print_exc(file=sys.stdout)
    print('%d passed, %d failed' % (passed, failed))
    sys.exit(1 if failed or not passed else 0)
