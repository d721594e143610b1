#!/usr/bin/env bash
# The demo runs from a clean checkout, answers what its text says (it checks itself), and fails when the data differ.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
bash demo/run.sh >/dev/null
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp -r demo "$folder"
head -n -1 demo/data/rows.jsonl >"$folder/demo/data/rows.jsonl"
if VELTA_COMMAND=${VELTA_COMMAND:-$root/build/velta} bash "$folder/demo/run.sh" >"$folder/log" 2>&1; then
    echo "the demo did not notice that a row is missing"
    exit 1
fi
grep -q "they must be as many" "$folder/log"
size=$(du -cb demo/data/* | tail -1 | cut -f1)
[ "$size" -lt 8000000 ] || { echo "the demo's files are $size bytes"; exit 1; }
