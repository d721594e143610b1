#!/usr/bin/env bash
# Chromium killed under load, its tabs and workers ended, its profile opened again, against a ledger.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${VELTA_NODE:-node}" tests/package/crash.mjs "$@"
