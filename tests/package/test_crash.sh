#!/usr/bin/env bash
# Chromium killed under load, its profile opened again, against a ledger of what was acknowledged.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${VELTA_NODE:-node}" tests/package/crash.mjs "$@"
