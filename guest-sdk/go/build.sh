#!/usr/bin/env bash
# Compiles a plugin in Go into a component: build.sh projection|handler|upcaster OUTPUT.wasm PACKAGE
#
# Needs Go 1.24 or newer, and wasm-tools. GO and WASM_TOOLS name them if they are not in PATH.
set -euo pipefail
sdk=$(cd "$(dirname "$0")" && pwd)
kind=${1:?kind} output=${2:?output} package=${3:?package}
wit=$sdk/../wit
[ -d "$wit" ] || wit=$sdk/../../wit
tools=${WASM_TOOLS:-wasm-tools}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Without debug information, but with the names of functions, for the backtrace of a trap.
GOOS=wasip1 GOARCH=wasm "${GO:-go}" build -buildmode=c-shared -ldflags=-w -trimpath -o "$folder/core.wasm" "$package"
"$tools" parse "$sdk/adapter.wat" -o "$folder/adapter.wasm"
"$tools" component embed "$wit" --world "$kind-plugin" "$folder/core.wasm" -o "$folder/embedded.wasm"
mkdir -p "$(dirname "$output")"
"$tools" component new "$folder/embedded.wasm" --adapt "wasi_snapshot_preview1=$folder/adapter.wasm" -o "$output"
