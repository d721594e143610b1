#!/usr/bin/env bash
# Chromium with a storage quota that is used up.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${VELTA_NODE:-node}" tests/package/quota.mjs "$@"
