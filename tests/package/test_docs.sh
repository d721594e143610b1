#!/usr/bin/env bash
# The programs of the package's documents, against the tarball.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${VELTA_NODE:-node}" tests/package/docs.mjs "$@"
