#!/usr/bin/env python3
"""
What the WebAssembly modules may hold: messages only with the conversions of wasm/print.c, imports only of known names,
of relaxed SIMD only the exact dot product, and no relaxed operation in the other builds.
"""
import glob
import os
import re
import subprocess
import sys

BUILD = os.environ.get('VELTA_BUILD', 'build')
NODE = os.environ.get('VELTA_NODE', 'node')
FEATURES = ['simd', 'relaxed-simd', 'threads', 'bulk-memory', 'bulk-memory-opt', 'sign-ext', 'mutable-globals',
            'nontrapping-float-to-int']
PRINTED = re.compile(r'%(%|[-0]*\d*(\.(\*|\d*))?(hh|h|ll|l|z|j)?[csdux])')
IMPORTS = {('env', 'memory'), ('env', 'emscripten_resize_heap'), ('velta', 'now'), ('velta', 'clock'),
           ('velta', 'execute'), ('velta', 'close_storage'), ('velta', 'progress'), ('velta', 'change')}
DOT = 'i32x4.relaxed_dot_i8x16_i7x16_add_s'
failures = []


def unprintable(text):
    """Conversions that wasm/print.c does not have, in the formats of calls that print."""
    for call in re.finditer(r'\b(?:velta_fail|v?snprintf|\w*_fail)\((?:[^;"]|"(?:[^"\\]|\\.)*")*;', text):
        for literal in re.findall(r'"((?:[^"\\]|\\.)*)"', call[0]):
            rest = PRINTED.sub('', literal)
            if '%' in rest and not rest.endswith('%'):  # one at the end goes on with a PRI macro
                yield literal


if list(unprintable('velta_fail(e, 1, 2, "%g of %s", x, y);')) != ['%g of %s']:
    failures.append('the check itself does not see a wrong format')
for path in sorted(glob.glob('*/*.c')):
    if path.split('/')[0] in ('core', 'hnsw', 'delta', 'store', 'wasm') and path != 'store/host_posix.c':
        with open(path, encoding='utf-8') as file:
            failures += ['%s: "%s"' % (path, literal) for literal in unprintable(file.read())]

for build in ('scalar', 'simd128', 'relaxed', 'threads'):
    module = os.path.join(BUILD, 'wasm', 'velta.%s.wasm' % build)
    done = subprocess.run([NODE, 'wasm/node_modules/binaryen/bin/wasm-dis', module]
                          + ['--enable-' + feature for feature in FEATURES],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        failures.append('%s: %s' % (module, done.stderr))
        continue
    imports = set(re.findall(r'^ \(import "(\w+)" "(\w+)"', done.stdout, re.M))
    failures += ['%s imports %s' % (module, name) for name in sorted(imports - IMPORTS)]
    relaxed = set(re.findall(r'\b\w+\.relaxed_\w+', done.stdout))
    if relaxed != ({DOT} if build == 'relaxed' else set()):
        failures.append('%s has the relaxed operations %s' % (module, sorted(relaxed)))
    if ('abi_build_' + build) not in done.stdout:
        failures.append('%s does not say that it is the %s build' % (module, build))

for failure in failures:
    print(failure)
print('%d passed, %d failed' % (not failures, len(failures)))
sys.exit(bool(failures))
