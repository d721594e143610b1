#!/usr/bin/env bash
# The demo page in Chromium, from the built package. --keep renews the screenshots of docs/images.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${VELTA_NODE:-node}" tests/browser/test_demo_page.mjs "$@"
