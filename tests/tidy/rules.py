"""The house rules that a program can check. Each rule is a function that takes a Tree and yields violations as text.

A function's length is measured between its first line at column 0 that ends in "{" and the next "}" at column 0, which
is exact for code that clang-format laid out. Comments and strings are blanked (keeping lines) where a rule is about
code. The rules about objects read what the compiler made of the release build: `nm` cannot be talked out of a symbol.
"""
import os
import re
import subprocess

ENGINE = ['simd', 'core', 'hnsw', 'delta', 'store']
LAYERS = ENGINE + ['wasm', 'cli']  # a folder includes itself and the ones before it
BESIDE = {'cli': {'wasm'}}  # except these
ROOT_ENTRIES = set(LAYERS) | {'demo', 'bench', 'tests', 'ADR', 'docs', 'Makefile', 'README.md', 'LICENSE', '.ci',
                              '.gitignore', '.clang-format', '.prettierrc.json'}
MAX_FILE_LINES = 1000
MAX_FUNCTION_LINES = 70
MAX_LINE_CHARACTERS = 120
MAX_PUBLIC_HEADER_LINES = 600

ALLOCATION = {'malloc', 'calloc', 'realloc', 'reallocarray', 'free', 'strdup', 'strndup', 'aligned_alloc',
              'posix_memalign', 'memalign', 'valloc', 'alloca', 'asprintf', 'vasprintf', 'getline', 'open_memstream',
              'qsort', 'qsort_r', 'mmap', 'munmap'}
# glibc's qsort allocates, and its order of equal elements differs between machines.
HOST = {'open', 'open64', 'openat', 'creat', 'read', 'write', 'pread', 'pread64', 'pwrite', 'pwrite64', 'fsync',
        'fdatasync', 'close', 'ftruncate', 'ftruncate64', 'rename', 'unlink', 'flock', 'fcntl', 'fcntl64', 'fopen',
        'fopen64', 'fwrite', 'fread', 'fprintf', 'printf', '__printf_chk', '__fprintf_chk', 'puts', 'putchar', 'perror',
        'time', 'clock', 'clock_gettime', 'gettimeofday', 'nanosleep', 'usleep', 'sleep', 'getenv', 'setlocale',
        'pthread_create', 'pthread_mutex_lock', 'rand', 'srand', 'random', 'system', 'exit'}
# Where the engine may touch the world, and where memory comes from.
ALLOCATION_FILES = {'core/system_allocator'}
HOST_FILES = re.compile(r'^store/host_posix\w*$')
# Their result is returned on, or asks why; what close returns only tells of a flush (velta_flush must be heeded).
NOT_FALLIBLE = re.compile(r'_fail$|_refusal$|_refused$|^velta_fail$|^velta_close$')


C_FILES = ('.c', '.h', '.cpp', '.hpp')
SCRIPTS = ('.py', '.sh', '.ts', '.mts', '.cts', '.js', '.mjs', '.cjs')


class Tree:
    """The files under a root, as the version control lists them (all files where there is none)."""

    def __init__(self, root, build=None):
        self.root = root
        self.build = build  # the variant folder with the release objects, and ../libvelta.a; None: no objects
        self.cache = {}
        self.files = sorted(self._list())

    def _list(self):
        if os.path.isdir(os.path.join(self.root, '.git')):
            done = subprocess.run(['git', '-C', self.root, 'ls-files', '-z'], capture_output=True, check=False)
            names = [name for name in done.stdout.decode().split('\0') if name]
            if done.returncode == 0 and names:
                return [name for name in names if os.path.isfile(os.path.join(self.root, name))]
        found = []
        for folder, folders, names in os.walk(self.root):
            folders[:] = [name for name in folders if name not in ('.git', 'build', '__pycache__', 'node_modules')]
            found += [os.path.relpath(os.path.join(folder, name), self.root) for name in names]
        return found

    def having(self, *endings, under=None):
        return [name for name in self.files if name.endswith(endings) and (not under or name.split('/')[0] in under)]

    def text(self, name):
        if name not in self.cache:
            with open(os.path.join(self.root, name), 'rb') as file:
                self.cache[name] = file.read().decode('utf-8', 'replace')
        return self.cache[name]

    def scripts(self):
        """Those with a known ending, and those whose first line names an interpreter."""
        return [name for name in self.files if name.endswith(SCRIPTS) or
                ('.' not in os.path.basename(name) and self.text(name).startswith('#!'))]

    def is_binary(self, name):
        with open(os.path.join(self.root, name), 'rb') as file:
            return b'\0' in file.read(65536)


TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_of(text):
    """The text with comments and literals blanked; lines stay where they are."""
    return TOKEN.sub(lambda match: re.sub(r'[^\n]', ' ', match[0]), text)


def line_of(text, position):
    return text.count('\n', 0, position) + 1


def layering(tree):
    for name in tree.having('.c', '.h', under=LAYERS):
        room = name.split('/')[0]
        allowed = set(LAYERS[:LAYERS.index(room) + 1]) - BESIDE.get(room, set())
        for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)', tree.text(name), re.M):
            where = '%s:%d' % (name, line_of(tree.text(name), match.start()))
            target = match[2].split('/')[0]
            if match[1] == '<':
                if room != 'simd' and re.search(r'intrin\.h$|simd128\.h$|arm_neon|simde/', match[2]):
                    yield '%s: instruction sets belong to simd/' % where
            elif '/' not in match[2]:
                yield '%s: includes are written from the root: "%s/%s"' % (where, room, match[2])
            elif target not in allowed:
                yield '%s: %s/ may not include %s/' % (where, room, target)


def poisoned_allocation(tree):
    names = re.compile(r'\b(%s)[ \t\n]*\(' % '|'.join(sorted(ALLOCATION)))
    for name in tree.having('.c', '.h', under=ENGINE):
        if os.path.splitext(name)[0] in ALLOCATION_FILES or HOST_FILES.match(os.path.splitext(name)[0]):
            continue
        code = code_of(tree.text(name))
        for match in names.finditer(code):
            if code[:match.start()].rstrip(' ').endswith(('.', '->')):
                continue  # a member of ours
            yield '%s:%d: %s: memory comes from core/memory.h' % (name, line_of(code, match.start()), match[1])


def file_length(tree):
    for name in tree.having(*C_FILES) + tree.scripts():
        lines = tree.text(name).count('\n')
        if lines > MAX_FILE_LINES:
            yield '%s: %d lines (at most %d)' % (name, lines, MAX_FILE_LINES)


def public_header_length(tree):
    for name in tree.files:
        if name == 'store/velta.h' and tree.text(name).count('\n') >= MAX_PUBLIC_HEADER_LINES:
            yield '%s: %d lines (fewer than %d)' % (name, tree.text(name).count('\n'), MAX_PUBLIC_HEADER_LINES)


def function_length(tree):
    for name in tree.having(*C_FILES):
        head = start = None  # the last line at column 0 outside, and the open function's (or -1: a type or a table)
        for number, line in enumerate(code_of(tree.text(name)).split('\n'), 1):
            line = line.rstrip()
            if start is None:
                if line[:1].strip():
                    head, opening = number, ''
                opening = opening + line if head else line
                if head and line.endswith('{'):
                    # Functions only: a table or a type may be as long as it must be.
                    other = re.match(r'#|typedef\b|[^(]*=|(struct|enum|union) \w+ *(__|{)', opening)
                    is_function = '(' in opening and not other
                    start = head if is_function else -1
            elif line.startswith('}'):
                if start > 0 and number - start + 1 > MAX_FUNCTION_LINES:
                    yield '%s:%d: a function of %d lines (at most %d)' % (name, start, number - start + 1,
                                                                        MAX_FUNCTION_LINES)
                head = start = None


def line_length(tree):
    for name in tree.having(*C_FILES, 'Makefile') + tree.scripts():
        for number, line in enumerate(tree.text(name).split('\n'), 1):
            if len(line) > MAX_LINE_CHARACTERS:
                yield '%s:%d: %d characters (at most %d)' % (name, number, len(line), MAX_LINE_CHARACTERS)
            if line != line.rstrip():
                yield '%s:%d: blanks at the end of the line' % (name, number)
            if '\t' in line and name.endswith(C_FILES):
                yield '%s:%d: a tab' % (name, number)


def head_comment(tree):
    for name in tree.having(*C_FILES) + tree.scripts():
        text = re.sub(r'\A#![^\n]*\n', '', tree.text(name))
        directive = re.match(r'\s*#\s*(include|define|if|pragma)', text)
        if directive or not re.match(r'\s*(/\*|//|#\s*\S|"""|\'\'\')', text):
            yield '%s: starts with a comment that says what it is for' % name


def header_guard(tree):
    for name in tree.having('.h'):
        parts = name.split('/')
        guard = 'VELTA_%s_%s_H' % (parts[0].upper(), re.sub(r'\W', '_', parts[-1][:-2]).upper())
        if parts[0] == 'tests':  # with the folder between, or without
            guard = guard.replace('TESTS_', r'TESTS_(%s_)?' % parts[1].upper())
        code = code_of(tree.text(name)).strip()
        if not re.match(r'#ifndef (?P<guard>%s)\n#define (?P=guard)\n' % guard, code) or not code.endswith('#endif'):
            yield '%s: lacks the guard %s' % (name, guard)


def must_use(tree):
    declaration = re.compile(r'^(?!static|typedef|return|extern)([^\n=(]*)enum velta_status (\w+)\((?=[^;{]*\);)', re.M)
    for name in tree.having('.h', under=ENGINE):
        code = code_of(tree.text(name))
        for match in declaration.finditer(code):
            before = code[:match.start()].rstrip('\n').rsplit('\n', 1)[-1]
            if 'VELTA_MUST_USE' in match[1] or before.strip() == 'VELTA_MUST_USE' or NOT_FALLIBLE.search(match[2]):
                continue
            yield '%s:%d: %s lacks VELTA_MUST_USE' % (name, line_of(code, match.start()), match[2])


FORBIDDEN = [
    (re.compile(r'(?<![\w.])/(?:work|root|home)/\w'), 'a path of one machine'),
    (re.compile(r'\b(?:TO' r'DO|FIX' r'ME|XX' r'X|HA' r'CK)\b'), 'a marker of unfinished work'),
    (re.compile(r'https?://[^\s/]*(?:proxy|mirror)[^\s/]*[:/]', re.I), 'a host of one place'),
]


def forbidden_words(tree):
    for name in tree.files:
        if tree.is_binary(name) or name.startswith(('tests/corpus/', 'demo/data/')):
            continue
        for number, line in enumerate(tree.text(name).split('\n'), 1):
            for pattern, what in FORBIDDEN:
                if pattern.search(line):
                    yield '%s:%d: %s: %s' % (name, number, what, line.strip()[:100])


def root_entries(tree):
    for entry in sorted({name.split('/')[0] for name in tree.files} - ROOT_ENTRIES):
        yield '%s: the root holds only the rooms of the house' % entry


def symbols(path, *options):
    done = subprocess.run(['nm', '-A', *options, path], capture_output=True, text=True, check=True)
    return [line.split()[-1].split('@')[0] for line in done.stdout.splitlines() if line.strip()]


def release_objects(tree):
    for room in ENGINE if tree.build else []:
        for name in tree.having('.c', under=[room]):
            path = os.path.join(tree.build, name[:-2] + '.o')
            if os.path.exists(path):
                yield name[:-2], path


def object_symbols(tree):
    for name, path in release_objects(tree):
        used = set(symbols(path, '--undefined-only'))
        for symbol in sorted(used & ALLOCATION if name not in ALLOCATION_FILES and not HOST_FILES.match(name) else ()):
            yield '%s.o uses %s: memory comes from core/memory.h' % (name, symbol)
        for symbol in sorted(used & HOST if not HOST_FILES.match(name) else ()):
            yield '%s.o uses %s: only the host touches the world' % (name, symbol)


def object_globals(tree):
    for name, path in release_objects(tree):
        done = subprocess.run(['size', '-A', path], capture_output=True, text=True, check=True)
        for match in re.finditer(r'^\.(t?data|t?bss)(?!\.rel\.ro)\S*\s+(\d+)', done.stdout, re.M):
            if int(match[2]):
                yield '%s.o has %s bytes of .%s: the engine has no global state' % (name, match[2], match[1])


def library_exports(tree):
    library = os.path.join(os.path.dirname(tree.build), 'libvelta.a') if tree.build else ''
    if not os.path.exists(library):
        return
    for symbol in symbols(library, '--extern-only', '--defined-only'):
        if not symbol.startswith('velta_'):
            yield 'libvelta.a exports %s' % symbol


SOURCE_RULES = [layering, poisoned_allocation, file_length, public_header_length, function_length, line_length,
                head_comment, header_guard, must_use, forbidden_words, root_entries]
OBJECT_RULES = [object_symbols, object_globals, library_exports]
