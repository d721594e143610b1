"""The command interrupted and killed at random moments: the store is whole or absent, and loses nothing acknowledged.

Ctrl-C ends with 130; kill -9 leaves a store that opens, verifies, and holds every batch that was acknowledged, and
none in part. In `make soak` ($VELTA_SOAK) there are far more rounds.
"""
import json
import os
import pathlib
import pty
import random
import signal
import subprocess
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from command import (FAST, SOAK, facts, run_tests, small_rows, small_store, unit_vectors,  # noqa: E402
                     velta, write_rows)

ROUNDS = 400 if SOAK else 12
ROWS = 6000


def start(*arguments):
    """As a shell would start it, so that SIGINT does what Ctrl-C does."""
    return subprocess.Popen([FAST, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True, start_new_session=True,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))


def import_arguments(folder, rows=ROWS):
    np.save(folder / 'v.npy', unit_vectors(rows, 32))
    write_rows(folder / 'r.jsonl', small_rows(rows))
    return ['import', '--table', 't', '--vectors', 'v=%s' % (folder / 'v.npy'), folder / 'r.jsonl']


def duration(folder, arguments):
    started = time.monotonic()
    velta(*arguments, folder / 'timed.velta', fast=True)
    return time.monotonic() - started


def remove(store):
    for path in [store, pathlib.Path(str(store) + '-log')]:
        if path.exists():
            path.unlink()


def test_interrupted_import(folder):
    arguments = import_arguments(folder)
    whole = duration(folder, arguments)
    dice = random.Random(1)
    codes = []
    for _ in range(ROUNDS):
        store = folder / 's.velta'
        process = start(*arguments, store)
        time.sleep(dice.uniform(0.02, whole * 1.05))
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=120)[1]
        codes.append(process.returncode)
        # Killed by the signal where it came before the command was there to take it: what a shell reports as 130, too.
        assert process.returncode in (0, 130, -signal.SIGINT), (process.returncode, error)
        assert process.returncode != 130 or 'interrupted' in error, error
        if store.exists():
            assert 'nothing was stored' not in error
            assert facts(store, fast=True)['tables'][0]['rows'] == ROWS
            velta('verify', store, fast=True)
        else:
            assert process.returncode != 0 and not os.path.exists(str(store) + '-log')
        remove(store)
    assert 130 in codes, 'no round was interrupted: %s' % codes


def test_killed_import(folder):
    arguments = import_arguments(folder)
    whole = duration(folder, arguments)
    dice = random.Random(2)
    for _ in range(ROUNDS):
        store = folder / 's.velta'
        process = start(*arguments, store)
        time.sleep(dice.uniform(0.02, whole))
        process.kill()
        process.communicate(timeout=120)
        if store.exists():
            ran = velta('verify', store, fast=True, code=(0, 1))
            assert ran.code == 0 or 'there is no store' in ran.error, ran.error  # 1: killed before its first byte
            tables = facts(store, fast=True)['tables'] if ran.code == 0 else []
            assert [table['rows'] for table in tables] in ([], [0], [ROWS]), tables
            if not tables or tables[0]['rows'] == 0:
                velta(*arguments, store, fast=True)  # and can be taken up again
                assert facts(store, fast=True)['tables'][0]['rows'] == ROWS
        remove(store)


def test_import_takes_up_an_empty_file(folder):
    """What a kill in the first instant leaves."""
    arguments = import_arguments(folder, rows=20)
    for log in [None, b'']:
        store = folder / ('s%s.velta' % (log is None))
        store.write_bytes(b'')
        if log is not None:
            pathlib.Path(str(store) + '-log').write_bytes(log)
        velta('verify', store, code=1, says='there is no store')
        velta(*arguments, store)
        velta('verify', store)
        assert facts(store)['tables'][0]['rows'] == 20


def test_killed_while_applying(folder):
    """One process applies batches one after the other; each batch adds 1 to every element of two vectors."""
    store, vectors = small_store(folder, fast=True)
    both = [{'vectorId': key, 'operation': {'type': 'offset', 'amount': 1}} for key in ('row-1', 'row-2')]
    (folder / 'd.jsonl').write_text(''.join(json.dumps(delta) + '\n' for delta in both))
    script = 'while "$0" apply "$1" "$2"; do printf . >>"$3"; done'
    dice = random.Random(3)
    ledger = folder / 'acknowledged'
    total = 0
    for _ in range(ROUNDS):
        ledger.write_text('')
        process = subprocess.Popen(['bash', '-c', script, FAST, str(folder / 'd.jsonl'), str(store), str(ledger)],
                                   start_new_session=True, stderr=subprocess.DEVNULL)
        time.sleep(dice.uniform(0.05, 0.5))
        os.killpg(process.pid, signal.SIGKILL)  # its own session: the shell and the command it runs
        process.wait(timeout=60)
        acknowledged = total + len(ledger.read_text())
        steps = []
        for key, row in (('row-1', 1), ('row-2', 2)):
            line = velta('search', '--where', "id = '%s'" % key, '--select', 'v', '--json', store, fast=True).out
            moved = np.float32(json.loads(line)['v']) - vectors[row]
            steps.append(int(round(float(moved.mean()))))
            assert np.allclose(moved, steps[-1], atol=1e-2), moved
        assert steps[0] == steps[1], 'a batch is there in part: %s' % steps
        # The ledger is written after the command: it may miss some at the end, but nothing in it may be missing.
        assert acknowledged <= steps[0] <= acknowledged + 2, (acknowledged, steps)
        total = steps[0]
        velta('verify', store, fast=True)
    assert total >= 3, 'hardly anything was applied: %d' % total


def on_terminal(*arguments):
    """(exit code, what a terminal shows) of a run whose messages go to one."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([FAST, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=theirs)
    os.close(theirs)
    shown = b''
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    return process.wait(timeout=60), shown.decode()


def test_progress_is_for_terminals(folder):
    arguments = import_arguments(folder)
    code, shown = on_terminal(*arguments, folder / 's.velta')
    assert code == 0 and '%' in shown and '[###' in shown and 'indexing' in shown, shown
    assert shown.rstrip().endswith("table 't': %d rows added, primary key 'id'" % ROWS), shown[-200:]
    code, shown = on_terminal(*arguments, '--quiet', folder / 'q.velta')
    assert (code, shown) == (0, '')
    assert on_terminal('verify', folder / 's.velta')[1].rstrip().endswith('is sound')


def test_two_processes_do_not_write_at_once(folder):
    store, _ = small_store(folder, fast=True)
    os.mkfifo(folder / 'pipe')
    holder = start('apply', folder / 'pipe', store)  # opens the store, then waits for its deltas
    with open(folder / 'pipe', 'w', encoding='ascii') as pipe:  # returns when the other end is open
        velta('tag', 'x', store, code=1, fast=True, says='another process')
        pipe.write(json.dumps({'vectorId': 'row-1', 'operation': {'type': 'scale', 'factor': 2}}) + '\n')
    assert holder.communicate(timeout=60)[0] is None and holder.returncode == 0
    velta('tag', 'x', store, fast=True)


if __name__ == '__main__':
    run_tests(globals())
