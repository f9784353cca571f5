#!/usr/bin/env bash
# Compiles each plugin into dist/.
set -euo pipefail
cd "$(dirname "$0")"
sdk=../../guest-sdk/go/build.sh
"$sdk" projection dist/user-statistics.wasm ./user-statistics
"$sdk" handler dist/welcome.wasm ./welcome
"$sdk" upcaster dist/user-v1-to-v3.wasm ./user-v1-to-v3
