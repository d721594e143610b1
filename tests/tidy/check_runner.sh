#!/usr/bin/env bash
# The runner itself: it must count cases, notice failures, crashes, leaks and time-outs, and refuse to run nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export VELTA_BUILD=$folder
python=${PYTHON:-/usr/bin/python3}
passed=0 failed=0

# expect NAME EXIT_CODE LAST_LINE PROGRAM...
expect() {
    local name=$1 code=$2 line=$3 got=0
    shift 3
    "$python" tests/run --timeout 5 "$@" >"$folder/output" 2>&1 || got=$?
    if [ "$got" = "$code" ] && [ "$(tail -n 1 "$folder/output")" = "$line" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "$name: exit code $got, expected $code and \"$line\""
        sed 's/^/    /' "$folder/output"
    fi
}

cat >"$folder/case.c" <<'C'
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
static void good(void **state) { (void)state; }
static void other(void **state) {
    (void)state;
#if defined(BAD_ASSERT)
    assert_int_equal(1, 2);
#elif defined(BAD_CRASH)
    *(volatile int *)state = *(volatile int *)NULL;
#elif defined(BAD_LEAK)
    assert_non_null(((char *volatile)malloc(100)));
#elif defined(BAD_SUM)
    volatile int big = 2147483647;
    big = big + 1;
#elif defined(BAD_HANG)
    for (;;) __asm__ volatile("");
#endif
}
int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(good), cmocka_unit_test(other)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
C
build() {
    ${CC:-gcc} -w -g -fsanitize=address,undefined -fno-sanitize-recover=all -D"$1" "$folder/case.c" -o "$folder/$1" \
        -lcmocka
}
for variant in GOOD BAD_ASSERT BAD_CRASH BAD_LEAK BAD_SUM BAD_HANG; do build $variant; done
printf '#!/bin/sh\nexit 0\n' >"$folder/good.sh"
printf '#!/bin/sh\nexit 3\n' >"$folder/bad.sh"
printf 'print("4 passed, 0 failed")\n' >"$folder/counts.py"
printf 'print("4 passed, 0 failed")\nraise SystemExit(1)\n' >"$folder/lies.py"

expect 'two cases' 0 '2 passed, 0 failed' "$folder/GOOD"
expect 'an assertion' 1 '1 passed, 1 failed' "$folder/BAD_ASSERT"
expect 'a crash' 1 '1 passed, 1 failed' "$folder/BAD_CRASH"
expect 'a leak' 1 '2 passed, 1 failed' "$folder/BAD_LEAK"
expect 'undefined behaviour' 1 '1 passed, 1 failed' "$folder/BAD_SUM"
expect 'a hang' 1 '1 passed, 1 failed' "$folder/BAD_HANG"
expect 'scripts' 0 '5 passed, 0 failed' "$folder/good.sh" "$folder/counts.py"
expect 'failing scripts' 1 '4 passed, 2 failed' "$folder/bad.sh" "$folder/lies.py"
printf 'print("figure: crash_states 7")\nprint("figure: crash_states 5")\n' >"$folder/figures.py"
expect 'figures are kept' 0 '1 passed, 0 failed' "$folder/figures.py"
kept=$("$python" tests/figures.py "$folder")
expect 'figures that are not met' 1 '1 passed, '"$("$python" tests/figures.py --tier test "$folder" |
    sed -n 's/ figures not met$//p')"' failed' --figures test "$folder/figures.py"
if [[ $kept == *'crash states of the storage protocol '*' 12 '*'>= 300,000'* ]]; then
    passed=$((passed + 1))
else
    failed=$((failed + 1))
    echo "the table: $kept"
fi
cat >"$folder/fuzz_seed" <<'SH'
#!/bin/sh
for word; do [ "${word#-seed=}" = "$word" ] || echo "INFO: Seed: ${word#-seed=}"; done
SH
chmod +x "$folder/fuzz_seed"
# The same seed each time, told; in soaks another; and the one that is asked for.
seed_told() { "$python" tests/run "$folder/fuzz_seed" | sed -n 's/.*, seed \([0-9]*\)).*/\1/p'; }
if [ -n "$(seed_told)" ] && [ "$(seed_told)" = "$(seed_told)" ] &&
    [ "$(VELTA_SOAK=1 seed_told)" != "$(VELTA_SOAK=1 seed_told)" ] && [ "$(VELTA_FUZZ_SEED=77 seed_told)" = 77 ]; then
    passed=$((passed + 1))
else
    failed=$((failed + 1))
    echo 'seeds of fuzzers'
fi
expect 'nothing' 1 '0 passed, 0 failed'
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
