#!/bin/bash
# The main job on real data: 9,538 Debian packages in, found by meaning and by value, changed, and seen as they were.
# Fails when an answer is not what the text says. usage: demo/run.sh (after `make native`; `make demo` does both)
set -euo pipefail
cd "$(dirname "$0")/.."
velta=${VELTA_COMMAND:-build/velta}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
store=$folder/packages.velta
bold='' plain=''
[ ! -t 1 ] || { bold=$'\033[1m' plain=$'\033[0m'; }

say() { printf '\n%s%s%s\n' "$bold" "$1" "$plain" && shift && [ $# = 0 ] || printf '%s\n' "$@"; }
show() { # a command as one would type it
    printf '\n$ velta'
    for word in "$@"; do
        word=${word//$folder\//}
        case $word in
        *[!a-zA-Z0-9_./=,:-]*) printf ' "%s"' "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
}
run() { # shows a command and runs it; what it answered stays in $answer
    show "$@"
    "$velta" "$@" 2>&1 | tee "$folder/answer"
    answer=$(cat "$folder/answer")
}
fail() {
    printf '\ndemo: %s\n' "$*" >&2
    exit 1
}
query=(search --vectors demo/data/queries.npy)
text() { sed -n "$(($1 + 1))p" demo/data/queries.txt; }

say "1. Rows and vectors in" \
    "9,538 packages (JSON Lines) and a vector for each (float16, 256 dimensions, made of its description)." \
    "All of it is stored, or nothing; then the index is linked."
run import --table packages --vectors embedding=demo/data/vectors.npy demo/data/rows.jsonl "$store"
run inspect "$store"
[[ $answer == *"9538 rows, 0 deleted"* ]] || fail "the rows are not all there"

say "2. By meaning: \"$(text 6)\"" \
    "demo/data/queries.npy holds questions as people type them, made into vectors like the packages."
run "${query[@]}" --query 6 --k 5 --select name,section,summary --explain "$store"
[[ $answer == *"9538 rows match"* ]] || fail "the search says nothing of how it was done"

say "3. By meaning and by value in one query" \
    "Like gimp, but small, and nothing of its name. The filter is counted first; its count decides how to search."
run search --like gimp --where "section = 'graphics' AND installed_kb < 4000 AND NOT name CONTAINS 'gimp'" --k 5 \
    --select name,installed_kb,summary --explain "$store"
[[ $answer == *"493 rows match"* ]] || fail "the filter does not match what it should"

say "4. A change, and the ranking follows: \"$(text 0)\"" "Before:"
run "${query[@]}" --query 0 --k 5 --select name,summary "$store"
before=$answer
run tag before-the-thumbs-up "$store"
printf '\nA thumbs-up for xboard is one delta: its vector moves towards the question.\n'
run apply demo/data/thumbs-up.jsonl "$store"
run "${query[@]}" --query 0 --k 5 --select name,summary "$store"
[[ $(sed -n 2p <<<"$answer") == *" xboard "* ]] || fail "the delta did not change the ranking"

say "5. The ranking as it was" "Nothing was lost: the past is searched like the present."
run "${query[@]}" --query 0 --k 5 --select name,summary --at tag:before-the-thumbs-up "$store"
[ "$answer" = "$before" ] || fail "the past is not what it was"

say "6. All of it is sound, and fits one file" "The export is a store itself, and the same on every machine."
run verify "$store"
run export "$store" "$folder/everywhere.velta"
"$velta" search --like xboard --k 1 "$folder/everywhere.velta" >"$folder/answer"
printf '\n%s bytes in everywhere.velta, index and history included.\n' "$(stat -c %s "$folder/everywhere.velta")"
