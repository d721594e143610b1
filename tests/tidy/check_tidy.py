#!/usr/bin/env python3
"""Applies the rules of rules.py to the tree, after showing that each of them catches a canary: a file made to break it.

A rule whose canary passes, or that objects to the good file beside the canary, fails itself. Run from the root.
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import rules  # noqa: E402  (beside this file)

GOOD = {
    'core/good.h': '/* Good. */\n#ifndef VELTA_CORE_GOOD_H\n#define VELTA_CORE_GOOD_H\n\n#include "simd/simd.h"\n\n'
                   'VELTA_MUST_USE enum velta_status good_open(int a);\nVELTA_MUST_USE\n'
                   'enum velta_status good_two(int a,\n    int b);\n#endif\n',
    'core/good.c': '/* Good: says malloc( only in a comment. */\n#include "core/good.h"\n\nvoid good(struct a *a) {\n'
                   '    a->free("malloc(1)");\n}\nint good_long = {\n' + '    1,\n' * 100 + '};\n',
    'core/system_allocator.c': '/* The one. */\nvoid *one(void) {\n    return malloc(1);\n}\n',
    'cli/good.c': '/* Good. */\n#include "store/velta.h"\nint main(void) {\n    return 0;\n}\n',
}
LONG_FUNCTION = 'void long_one(int a,\n              int b) {\n' + '    a++;\n' * 69 + '}\n'

# rule: a file and what breaks the rule in it
SOURCE_CANARIES = [
    ('layering', 'core/bad.c', '/* Bad. */\n#include "store/velta.h"\n'),
    ('layering', 'simd/bad.c', '/* Bad. */\n#include "core/types.h"\n'),
    ('layering', 'cli/bad.c', '/* Bad. */\n#include "wasm/exports.h"\n'),
    ('layering', 'core/bad.c', '/* Bad. */\n#include "memory.h"\n'),
    ('layering', 'hnsw/bad.c', '/* Bad. */\n#include <immintrin.h>\n'),
    ('poisoned_allocation', 'delta/bad.c', '/* Bad. */\nvoid *f(void) {\n    return malloc(1);\n}\n'),
    ('poisoned_allocation', 'store/bad.c', '/* Bad. */\nvoid f(int *a) {\n    qsort (a, 1, 4, g);\n}\n'),
    ('file_length', 'core/bad.c', '/* Bad. */\n' + '\n' * 1000),
    ('public_header_length', 'store/velta.h', '/* Bad. */\n' + '\n' * 600),
    ('function_length', 'core/bad.c', '/* Bad. */\n' + LONG_FUNCTION),
    ('line_length', 'core/bad.c', '/* ' + 'b' * 120 + ' */\n'),
    ('line_length', 'core/bad.c', '/* Bad. */ \n'),
    ('line_length', 'core/bad.c', '/* Bad. */\n\tint a;\n'),
    ('head_comment', 'core/bad.c', '#include "core/types.h"\n/* Late. */\n'),
    ('head_comment', 'tests/bad.py', '#!/usr/bin/env python3\nimport os\n'),
    ('header_guard', 'core/bad.h', '/* Bad. */\n#ifndef BAD_H\n#define BAD_H\n#endif\n'),
    ('header_guard', 'core/bad.h', '/* Bad. */\n#pragma once\n'),
    ('must_use', 'core/bad.h', '/* Bad. */\nenum velta_status bad_open(int a);\n'),
    ('forbidden_words', 'docs/bad.md', 'See /ro' 'ot/notes.\n'),
    ('forbidden_words', 'core/bad.c', '/* TO' 'DO: all of it */\n'),
    ('root_entries', 'tools/bad.sh', '# Bad.\n'),
]
OBJECT_CANARIES = [
    ('object_symbols', 'void free(void *);\nvoid f(void *a) { free(a); }\n'),
    ('object_symbols', 'int open(const char *, int, ...);\nint f(void) { return open("a", 0); }\n'),
    ('object_globals', 'int counter;\n'),
    ('object_globals', 'int f(void) { static int calls = 1; return calls++; }\n'),
    ('library_exports', 'int memory_create(void) { return 1; }\n'),
]
GOOD_OBJECT = ('static const char *const names[] = {"a", "b"};\nint velta_f(int i);\n'
               'int velta_f(int i) { return names[i][0]; }\n')


def write_tree(root, files):
    for name, text in files.items():
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)


def try_source(rule, name, text):
    """(objections with the canary, objections without it)"""
    function = getattr(rules, rule)
    with tempfile.TemporaryDirectory() as root:
        write_tree(root, GOOD)
        without = list(function(rules.Tree(root)))
        write_tree(root, {name: text})
        return list(function(rules.Tree(root))), without


def try_object(rule, text):
    function = getattr(rules, rule)
    results = []
    for source in (text, GOOD_OBJECT):
        with tempfile.TemporaryDirectory() as root:
            write_tree(root, {'core/a.c': source, 'build/native/core/keep': ''})
            made = os.path.join(root, 'build/native/core/a.o')
            subprocess.run([os.environ.get('CC', 'gcc'), '-w', '-O1', '-c', os.path.join(root, 'core/a.c'), '-o', made],
                           check=True)
            subprocess.run(['ar', 'rcs', os.path.join(root, 'build/libvelta.a'), made], check=True)
            results.append(list(function(rules.Tree(root, os.path.join(root, 'build/native')))))
    return results


def main():
    passed = failed = 0

    def report(ok, text, details=()):
        nonlocal passed, failed
        passed, failed = passed + ok, failed + (not ok)
        print('%s %s' % ('ok  ' if ok else 'FAIL', text))
        for line in details:
            print('     ' + line)

    tried = set()
    for rule, name, text in SOURCE_CANARIES:
        caught, without = try_source(rule, name, text)
        tried.add(rule)
        report(bool(caught) and not without, 'canary of %s: %s' % (rule, (caught or ['passed unseen'])[0]), without)
    for rule, text in OBJECT_CANARIES:
        caught, without = try_object(rule, text)
        tried.add(rule)
        report(bool(caught) and not without, 'canary of %s: %s' % (rule, (caught or ['passed unseen'])[0]), without)
    build = os.path.join(os.environ.get('VELTA_BUILD', 'build'), 'native')
    tree = rules.Tree(os.getcwd(), build)
    for function in rules.SOURCE_RULES + rules.OBJECT_RULES:
        assert function.__name__ in tried, function.__name__ + ' has no canary'
        found = list(function(tree))
        report(not found, function.__name__, found)
    report(bool(list(rules.release_objects(tree))), 'release objects were there to look at')
    print('%d passed, %d failed' % (passed, failed))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
