#!/usr/bin/env bash
# Programs as users build them, with each bundler and in Node, from the tarball; and TypeScript's view of it.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${VELTA_NODE:-node}" tests/package/fixtures.mjs "$@"
