#!/usr/bin/env bash
# Private windows, sandboxed pages and cleared data in Chromium.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${VELTA_NODE:-node}" tests/package/private.mjs "$@"
