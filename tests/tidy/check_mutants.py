#!/usr/bin/env python3
"""Would the tests notice? Breaks one line of each room at a time, in a copy of the tree, and runs the test that should.

A mutant is noticed when the test ran to its end and said which of its cases failed, or when an assertion of the engine
ended it: not when it does not compile, and not when it dies otherwise or hangs. A mutant that is not noticed is
a failure here; so is one whose line is no longer found exactly once, and a test that fails without any mutant. What the
real build made is taken over with its time stamps, so that each mutant compiles one file and links one program.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

TIMEOUT_S = 240

# file, what stands there, what is put instead, the test that must fail
MUTANTS = [
    ('simd/avx2.c', '_mm256_cmpgt_epi64(_mm256_set1_epi64x(lo), x)',
     '_mm256_cmpgt_epi64(_mm256_set1_epi64x(lo + (lo < hi)), x)', 'unit/test_simd_filters'),
    ('simd/scalar.c', 'static float scalar_fold(float *lanes) {\n', 'static float scalar_fold(float *lanes) {\n'
     '    { float t = lanes[0]; lanes[0] = lanes[2]; lanes[2] = t; }\n', 'unit/test_simd_distances'),
    ('core/memory.c', 'size_bytes > memory->budget_bytes - memory->used_bytes', 'size_bytes > memory->budget_bytes',
     'unit/test_memory'),
    ('core/key_index.c', '((at - home) & mask) >= ((at - gap) & mask)', '((at - home) & mask) > ((at - gap) & mask)',
     'unit/test_table'),
    ('core/filter_evaluate.c', 'if (valid && (node->complement || zero_matches(node))) run->',
     'if (valid && zero_matches(node)) run->', 'unit/test_filter'),
    ('hnsw/repair.c', 'if (!(index->flags[links.ids[i]] & HNSW_NODE_LEAVING)) chosen', 'chosen',
     'unit/test_hnsw_repair'),
    ('delta/storage_checkpoint.c',
     'case STEP_CHECKPOINT_ROOT_SYNC:\n        storage_emit(storage, STORAGE_SYNC, STORAGE_DATA, 0, 0, NULL, NULL);',
     'case STEP_CHECKPOINT_ROOT_SYNC:', 'sim/test_crash'),
    ('delta/history_read.c', 'return death != NULL && death->sequence > sequence;',
     'return death != NULL && death->sequence >= sequence;', 'unit/test_history'),
    ('store/write_delta.c', 'wrong |= delta->indices[k] <= delta->indices[k - 1];',
     'wrong |= delta->indices[k] < delta->indices[k - 1];', 'unit/test_store_write'),
    ('hnsw/exact.c', 'if (total == top->keep) top->limit = keys[total - 1];',
     'if (total == top->keep) top->limit = keys[total / 2];', 'property/test_search_exact'),
    ('hnsw/link.c', 'if (index->unwalked_count >= index->linked_count / WALK_SHARE) hnsw_reconnect(batch->team);',
     'if (index->unwalked_count >= index->linked_count / WALK_SHARE) index->unwalked_count = 0;',
     'property/test_hnsw_sound'),
    ('store/commit.c', 'if (status && frames == 0) {\n        record_buffer_rewind(db->pending, mark);',
     'if (status && frames == 0) {\n        (void)mark;', 'unit/test_store_refusals'),
    ('core/column_write.c', 'dictionary_truncate(column->dictionary, column->written_dictionary_count);',
     '(void)column->dictionary;', 'unit/test_table'),
    ('delta/storage.c', 'storage->poisoned |= !storage->reading;',
     'storage->poisoned |= !storage->reading && storage->operation.kind != STORAGE_SYNC;', 'unit/test_host_faults'),
    ('delta/storage.c', 'if (transfers && storage->result.size_bytes != operation->size_bytes) {',
     'if (transfers && storage->result.size_bytes > operation->size_bytes) {', 'unit/test_storage'),
    ('delta/storage_open.c', 'if (hash_stream_value(&storage->hash) != storage->frame.body_checksum) {',
     'if (storage->frame.body_checksum == 0) {', 'unit/test_storage'),
    ('delta/storage.c', 'storage_log_salt(storage->generation, storage->root.checksum)',
     'storage_log_salt(storage->generation, 0)', 'unit/test_storage'),
    ('store/checkpoint.c', 'meta.reserved[0] = (uint64_t)db->made_ms;', 'meta.reserved[0] = 0;',
     'unit/test_store_hostile_log'),
    ('store/host_posix.c', 'result->size_bytes += (uint64_t)put;', 'result->size_bytes = operation->size_bytes;',
     'unit/test_host_faults'),
    ('store/read.c', 'if (count == 0 || chain[count - 1].delta.operation == 0) {', 'if (count == 0) {',
     'unit/test_store_read'),
]


def copy_tree(build, root):
    tracked = subprocess.run(['git', 'ls-files', '-z'], capture_output=True, check=True).stdout.decode().split('\0')
    for name in tracked:
        if name.startswith(('simd/', 'core/', 'hnsw/', 'delta/', 'store/', 'tests/', 'Makefile', '.ci/')):
            os.makedirs(os.path.join(root, os.path.dirname(name)), exist_ok=True)
            shutil.copy2(name, os.path.join(root, name))
    for part in ('deps', 'setup', 'native'):
        # Programs are linked again anyway.
        shutil.copytree(os.path.join(build, part), os.path.join(root, 'build', part), symlinks=True,
                        ignore=lambda folder, names: [name for name in names if name.startswith('test_') and
                                                      not name.endswith(('.o', '.d'))])


def run_test(root, test):
    """The names of what failed, None where the test was not built or did not end; and what was said."""
    environment = {key: value for key, value in os.environ.items() if key not in ('MAKEFLAGS', 'MAKELEVEL', 'MFLAGS')}
    program = os.path.join('build', 'native', 'tests', test)
    made = subprocess.run(['make', 'BUILD=build', 'SETUP=no', 'TESTS=', program], cwd=root, env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if made.returncode != 0:
        return None, made.stdout
    try:
        done = subprocess.run([os.path.join(root, program)], cwd=root, env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return None, 'not at its end after %d s' % TIMEOUT_S
    said = done.stdout.decode('utf-8', 'replace')
    asserted = re.search(r"^test_\w+: \S+: (\w+): Assertion `.*' failed\.$", said, re.M)
    if asserted and done.returncode == -signal.SIGABRT:
        return ['assertion in ' + asserted[1]], said
    cases = re.findall(r'^\[  (?:FAILED |ERROR  ) \] (\w+)$', said, re.M)
    ended = re.search(r'^\[==========\] .*\d+ test\(s\) run', said, re.M)
    told = done.returncode == len(set(cases))  # cmocka's exit code is the number of failed cases
    return (sorted(set(cases)) if ended and told else None), said


def try_mutant(root, name, old, new, test):
    """As run_test."""
    path = os.path.join(root, name)
    with open(path, encoding='utf-8') as file:
        original = file.read()
    if original.count(old) != 1:
        return None, 'the line stands %d times in %s' % (original.count(old), name)
    try:
        with open(path, 'w', encoding='utf-8') as file:
            file.write(original.replace(old, new))
        return run_test(root, test)
    finally:
        with open(path, 'w', encoding='utf-8') as file:
            file.write(original)


def main():
    chosen = sys.argv[1:]
    mutants = [mutant for mutant in MUTANTS if not chosen or any(part in mutant[0] for part in chosen)]
    passed = failed = 0
    with tempfile.TemporaryDirectory() as root:
        copy_tree(os.environ.get('VELTA_BUILD', 'build'), root)
        for test in sorted({test for _, _, _, test in mutants}):
            cases, said = run_test(root, test)
            if cases != []:
                failed += 1
                print('FAIL %s: it does not pass without mutants\n%s' % (test, said[-3000:]))
        for name, old, new, test in mutants:
            cases, said = try_mutant(root, name, old, new, test)
            passed, failed = passed + bool(cases), failed + (not cases)
            if cases:
                print('ok   %s: %s (%s)' % (name, test, ', '.join(cases)))
            else:
                why = 'not built, or it did not end' if cases is None else 'not noticed'
                print('FAIL %s: %s (%s)\n     %s\n  -> %s\n%s' % (name, test, why, old, new, said[-3000:]))
    print('%d passed, %d failed' % (passed, failed))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
