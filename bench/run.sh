#!/bin/bash
# Runs every measurement that was built and merges what they found into bench/results.json. `make bench` calls it.
#
# Each program prints its table and writes an object {"question", "rows"} to the file it is given. Programs that need
# a data set which is not there say so and are left out; the others still run. The native ones come first, then those of
# the package, bench/wasm/*.mjs. Under twenty minutes on two cores. Arguments: only these, by name (wasm/search: one of
# the package's).
set -euo pipefail
cd "$(dirname "$0")/.."
build=${VELTA_BUILD:-build}
python=${PYTHON:-python3}
node=${NODE:-$build/node}
results=$build/bench/results
only=" $* "
rm -rf "$results"
mkdir -p "$results"

# The build comes first: it keeps the peer's graphs for the others.
order="build search filtered"
for source in bench/*.cpp bench/*.c; do
    [ -e "$source" ] || continue
    name=$(basename "${source%.*}")
    case " $order " in *" $name "*) ;; *) order="$order $name" ;; esac
done

for script in bench/wasm/*.mjs; do
    order="$order wasm/$(basename "${script%.mjs}")"
done
mkdir -p "$results/wasm"

failed=0
for name in $order; do
    case $only in "  " | *" $name "*) ;; *) continue ;; esac
    case $name in
    wasm/*)
        [ -x "$node" ] || continue
        "$node" "bench/$name.mjs" "$results/$name.json" || failed=1
        echo
        continue
        ;;
    esac
    [ -x "$build/bench/$name" ] || continue
    case $name in
    filters) # JSON lines, then a table
        "$build/bench/$name" >"$results/$name.lines" || failed=1
        grep -v '^{' "$results/$name.lines" || true
        ;;
    micro_simd) "$build/bench/$name" || failed=1 ;;                      # a table for who works on kernels
    *) "$build/bench/$name" "$results/$name.json" || failed=1 ;;
    esac
    echo
done

"$python" - "$results" bench/results.json "$only" $order <<'PYTHON'
import json, os, platform, re, subprocess, sys
folder, out, only, names = sys.argv[1], sys.argv[2], sys.argv[3].split(), sys.argv[4:]
cpu = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read()) if os.path.exists("/proc/cpuinfo") else None
commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
merged = {
    "machine": {"cpu": cpu.group(1) if cpu else platform.machine(), "cores": os.cpu_count(),
                "system": platform.system()},
    "questions": [],  # each with the commit that it was measured at
}
for name in names:
    path = os.path.join(folder, name + ".json")
    if os.path.exists(path):
        merged["questions"].append({"commit": commit, **json.load(open(path))})
    lines = os.path.join(folder, name + ".lines")
    if os.path.exists(lines):
        rows = [json.loads(line) for line in open(lines) if line.startswith("{")]
        merged["questions"].append({"commit": commit, "question": name, "rows": rows})
if only and os.path.exists(out):  # the other questions stay as they were measured
    fresh = {question["question"] for question in merged["questions"]}
    kept = [question for question in json.load(open(out))["questions"] if question["question"] not in fresh]
    merged["questions"] = kept + merged["questions"]
json.dump(merged, open(out, "w"), indent=1)
open(out, "a").write("\n")
missed = [(q["question"], r["what"], r["ratio"], r["target_ratio"]) for q in merged["questions"] for r in q["rows"]
          if "target_ratio" in r and r.get("ratio", 0) < r["target_ratio"]]
print(f"{out}: {sum(len(q['rows']) for q in merged['questions'])} rows")
for question in merged["questions"]:
    for row in question["rows"]:
        if row.get("ratio_to_target", 0) > 1:
            print(f"misses its target: {question['question']}: {row['what']}, {row.get('note', '')}: "
                  f"{row['measured']:.4g} {row['unit']}, target {row['target']:.4g}")
for question, what, ratio, target in missed:
    print(f"below its target: {question}: {what}: {ratio:.2f} < {target:.2f}")
PYTHON
exit $failed
