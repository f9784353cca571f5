#!/usr/bin/env bash
# Compiles each plugin of src/ into dist/.
set -euo pipefail
cd "$(dirname "$0")"
sdk=../../guest-sdk/c/build.sh
"$sdk" projection dist/user-statistics.wasm src/user-statistics.c
"$sdk" handler dist/welcome.wasm src/welcome.c
"$sdk" upcaster dist/user-v1-to-v3.wasm src/user-v1-to-v3.c
