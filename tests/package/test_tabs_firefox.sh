#!/usr/bin/env bash
# Four tabs of Firefox that want the same stores, while tabs end at random.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${VELTA_NODE:-node}" tests/package/tabs.mjs --engine firefox "$@"
