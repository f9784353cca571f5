#!/usr/bin/env bash
# Compiles a plugin in C into a component: build.sh projection|handler|upcaster OUTPUT.wasm SOURCE.c...
#
# Needs clang with lld, the C library for wasm32-wasi (Debian: clang lld wasi-libc libclang-rt-dev-wasm32), and
# wasm-tools. CC and WASM_TOOLS name them if they are not in PATH.
set -euo pipefail
sdk=$(cd "$(dirname "$0")" && pwd)
kind=${1:?kind} output=${2:?output}
shift 2

wit=$sdk/../wit
[ -d "$wit" ] || wit=$sdk/../../wit
# The first clang that has its runtime for Wasm.
compiler=${CC:-}
for name in clang clang-{24..15}; do
  [ -z "$compiler" ] && command -v "$name" >/dev/null || continue
  [ ! -e "$("$name" --target=wasm32-wasi --rtlib=compiler-rt -print-libgcc-file-name)" ] || compiler=$name
done
[ -n "$compiler" ] || { echo "no clang with a runtime for wasm32-wasi was found; CC names one" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The linker is named, since a clang beside another version's lld does not find it by itself.
version=$("$compiler" -dumpversion) && version=${version%%.*}
linker=$(command -v "wasm-ld-$version" || command -v wasm-ld)
"$compiler" --target=wasm32-wasi -O2 -Wall -Wextra -std=c11 -mexec-model=reactor "-fuse-ld=$linker" -Wl,--strip-debug \
  "-DWM_KIND_${kind^^}" -I "$sdk" -I "$sdk/bindings/$kind" \
  "$sdk"/*.c "$sdk/bindings/$kind/plugin.c" "$@" -o "$folder/core.wasm"

tools=${WASM_TOOLS:-wasm-tools}
"$tools" component embed "$wit" --world "$kind-plugin" "$folder/core.wasm" -o "$folder/embedded.wasm"
mkdir -p "$(dirname "$output")"
"$tools" component new "$folder/embedded.wasm" -o "$output"
