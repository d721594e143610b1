#!/usr/bin/env python3
"""Two compilers at different levels, one life: tests/property/test_same_life prints the same digest from each build."""
import os
import re
import subprocess
import sys

BUILD = os.environ.get('VELTA_BUILD', 'build')
digests = {}
for variant in ('native', 'asan', 'clang'):
    done = subprocess.run([os.path.join(BUILD, variant, 'tests/property/test_same_life')], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    found = re.search(r'^digest (\w{16})$', done.stdout, re.M)
    digests[variant] = found[1] if found and done.returncode == 0 else 'none: ' + done.stdout[-2000:]
    print('%-7s %s' % (variant, digests[variant]))
sys.exit(len(set(digests.values())) != 1 or any(value.startswith('none') for value in digests.values()))
