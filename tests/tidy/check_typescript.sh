#!/usr/bin/env bash
# The rules for TypeScript and JavaScript (typescript.mjs).
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${VELTA_NODE:-node}" tests/tidy/typescript.mjs
