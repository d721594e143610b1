#!/usr/bin/env bash
# The package in Node against a naive model in JavaScript.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${VELTA_NODE:-node}" tests/package/model.mjs "$@"
