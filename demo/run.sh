#!/bin/bash
# The main job on real data: 9,538 Debian packages in, found by meaning and by value, changed, and seen as they were.
# usage: demo/run.sh   (after `make native`; `make demo` does both)
set -euo pipefail
cd "$(dirname "$0")/.."
velta=${VELTA_COMMAND:-build/velta}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
store=$folder/packages.velta

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { # shows a command as one would type it, then runs it
    printf '$ velta'
    for word in "$@"; do
        word=${word//$folder\//}
        case $word in
        *[!a-zA-Z0-9_./=,:-]*) printf ' "%s"' "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
    "$velta" "$@"
}

say "1. Rows and vectors in, as one all-or-nothing batch; then the index"
run import --table packages --vectors embedding=demo/data/vectors.npy demo/data/rows.jsonl "$store"
run inspect "$store"

say "2. A typed query (demo/data/queries.txt has the texts of queries.npy): \"$(sed -n 7p demo/data/queries.txt)\""
run search --vectors demo/data/queries.npy --query 6 --k 5 --select name,section,summary --explain "$store"

say "3. By meaning and by value in one query: like gimp, but small, and not a library of it"
run search --like gimp --where "section = 'graphics' AND installed_kb < 4000 AND NOT name CONTAINS 'gimp'" --k 5 \
    --select name,installed_kb,summary --explain "$store"

say "4. A thumbs-up: one delta moves the vector of a package towards a query, and the ranking changes at once"
run search --vectors demo/data/queries.npy --query 0 --k 5 --select name,summary "$store"
run tag before-the-thumbs-up "$store"
run apply demo/data/thumbs-up.jsonl "$store"
run search --vectors demo/data/queries.npy --query 0 --k 5 --select name,summary "$store"

say "5. The ranking as it was before"
run search --vectors demo/data/queries.npy --query 0 --k 5 --select name,summary --at tag:before-the-thumbs-up "$store"

say "6. Everything is sound, and one file holds it all"
run verify "$store"
run export "$store" "$folder/everywhere.velta"
