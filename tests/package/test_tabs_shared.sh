#!/usr/bin/env bash
# Four tabs of Chromium that share a store, while tabs end at random.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${VELTA_NODE:-node}" tests/package/tabs_shared.mjs "$@"
