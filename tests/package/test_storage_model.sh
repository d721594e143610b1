#!/usr/bin/env bash
# The IndexedDB driver against plain arrays.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${VELTA_NODE:-node}" tests/package/storage_model.mjs "$@"
