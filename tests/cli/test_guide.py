"""Runs what the documents show: sessions of docs/GUIDE.md and README.md, and the C of GUIDE.md and C_API.md.

A ```console block is a session: lines after "$ " are commands ("> " continues one), the lines up to the next command
are what must be answered, messages included; "..." stands for anything, in a line or as lines. A ```c block of the
guide is saved under the name that the text after it says. Velta is installed into the folder, so the programs are
built as a user builds them. A ```sh block is not run.

C_API.md is one program: its first ```c block stands at the top, the others are the statements of main, in order; its
```text blocks together are what it prints.
"""
import os
import pathlib
import re
import shlex
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from command import BUILD, CHECKED, ROOT, run_tests  # noqa: E402

STRICT = ['-std=c11', '-Wall', '-Wextra', '-Werror', '-pedantic']


def blocks(name):
    """(kind, lines, number of the first line) of every fenced block."""
    text = (ROOT / name).read_text(encoding='utf-8')
    for match in re.finditer(r'^```(\w*)\n(.*?)^```$', text, re.M | re.S):
        yield match[1], match[2].splitlines(), text.count('\n', 0, match.start()) + 2


def sessions(name):
    """(line number, command, expected lines), in order."""
    for kind, lines, first in blocks(name):
        if kind != 'console':
            continue
        commands = []
        for number, line in enumerate(lines, first):
            if line.startswith('$ '):
                commands.append((number, [line[2:]], []))
            elif line.startswith('> ') and not commands[-1][2]:
                commands[-1][1].append(line[2:])
            else:
                commands[-1][2].append(line)
        for number, command, expected in commands:
            yield number, '\n'.join(command), expected


def matches(expected, answered):
    """Lines that are "..." match any number of lines; "..." in a line matches any characters."""
    pattern = ''.join(r'(?:.*\n)*?' if line.strip() == '...' else re.escape(line).replace(r'\.\.\.', '.*') + r' *\n'
                      for line in expected)
    return re.fullmatch(pattern, answered)


def install(folder):
    """A velta as `make install` makes it, in the folder; programs are linked to the library that is released."""
    root = folder / 'installed'
    environment = {key: value for key, value in os.environ.items() if not key.startswith('MAKE')}
    subprocess.run(['make', '-s', '-C', str(ROOT), 'BUILD=%s' % BUILD, 'PREFIX=%s' % root, 'SETUP=no', 'install'],
                   check=True, env=environment, stdout=subprocess.DEVNULL)
    environment.update(PKG_CONFIG_PATH=str(root / 'lib' / 'pkgconfig'))
    return root, environment


def run_sessions(name, folder, environment):
    ran = 0
    for number, command, expected in sessions(name):
        done = subprocess.run(['bash', '-c', command], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, check=False)
        assert matches(expected, done.stdout), '%s:%d: $ %s\nshould answer\n%s\nbut answers\n%s' % (
            name, number, command, '\n'.join(expected), done.stdout)
        assert expected or done.returncode == 0, '%s:%d: exit code %d' % (name, number, done.returncode)
        ran += 1
    return ran


def test_matching_can_fail(folder):
    assert matches(['a ... c', '...', 'z'], 'a b c\nd\ne\nz\n') and matches([], '')
    assert not matches(['a'], 'b\n') and not matches(['a'], 'a\nb\n') and not matches(['a'], '')
    assert folder.is_dir()


def prepare(folder):
    _, environment = install(folder)
    sanitized = folder / 'bin'  # the sessions run the command that checks itself
    sanitized.mkdir()
    (sanitized / 'velta').write_text('#!/bin/sh\nexec %s "$@"\n' % shlex.quote(CHECKED))
    (sanitized / 'velta').chmod(0o755)
    environment['PATH'] = '%s:%s' % (sanitized, environment['PATH'])
    (folder / 'demo').symlink_to(ROOT / 'demo')
    return environment


def test_guide(folder):
    environment = prepare(folder)
    programs = [lines for kind, lines, _ in blocks('docs/GUIDE.md') if kind == 'c']
    assert len(programs) == 1
    (folder / 'books.c').write_text('\n'.join(programs[0]) + '\n')
    assert run_sessions('docs/GUIDE.md', folder, environment) > 30


def test_readme(folder):
    assert run_sessions('README.md', folder, prepare(folder)) == 2


def test_links_lead_somewhere(folder):
    documents = [path for pattern in ('*.md', 'docs/*.md', 'ADR/*.md', 'demo/*.md') for path in ROOT.glob(pattern)]
    assert len(documents) >= 5 and folder.is_dir()
    for path in documents:
        for target in re.findall(r'\]\(([^)#:]+)\)', path.read_text(encoding='utf-8')):
            assert (path.parent / target).exists(), '%s: %s' % (path, target)


def test_c_api(folder):
    root, environment = install(folder)
    top, *parts = [(lines, first) for kind, lines, first in blocks('docs/C_API.md') if kind == 'c']
    program = ['#line %d "C_API.md"' % top[1], *top[0], 'int main(void) {', '    velta *db;', '    velta_table *table;']
    for lines, first in parts:
        program += ['    {', '#line %d "C_API.md"' % first, *('    ' + line if line else '' for line in lines), '    }']
    program += ['    return 0;', '}', '']
    (folder / 'tour.c').write_text('\n'.join(program))
    flags = subprocess.run(['pkg-config', '--cflags', '--libs', 'velta'], env=environment, check=True,
                           capture_output=True, text=True).stdout.split()
    for compiler in [os.environ.get('CC', 'gcc'), os.environ.get('CLANG', 'clang-14')]:
        built = subprocess.run([compiler, *STRICT, '-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all',
                                '-o', str(folder / 'tour'), str(folder / 'tour.c'), *flags], env=environment,
                               capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stderr
    expected = [line for kind, lines, _ in blocks('docs/C_API.md') if kind == 'text' for line in lines]
    done = subprocess.run([str(folder / 'tour')], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and matches(expected, done.stdout), 'should print\n%s\nbut prints\n%s%s' % (
        '\n'.join(expected), done.stdout, done.stderr)
    assert len(parts) >= 12 and (root / 'include' / 'velta.h').exists()


def test_every_public_name_is_in_the_tour(folder):
    """docs/C_API.md mentions every function of velta.h."""
    header = (ROOT / 'store' / 'velta.h').read_text()
    code = re.sub(r'/\*.*?\*/', '', header, flags=re.S)
    names = set(re.findall(r'^(?!typedef).*?\b(velta_\w+)\(', code, flags=re.M))
    text = (ROOT / 'docs' / 'C_API.md').read_text()
    missing = sorted(name for name in names if name not in text)
    assert len(names) > 50 and not missing, missing
    assert folder.is_dir()


if __name__ == '__main__':
    run_tests(globals())
