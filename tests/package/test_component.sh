#!/usr/bin/env bash
# The component beside the package, in Node, Chromium and TypeScript.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${VELTA_NODE:-node}" tests/package/component.mjs "$@"
