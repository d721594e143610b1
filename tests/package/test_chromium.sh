#!/usr/bin/env bash
# The package's specs in chromium, against the tarball.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${VELTA_NODE:-node}" tests/package/run.mjs --engine chromium "$@"
