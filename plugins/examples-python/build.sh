#!/usr/bin/env bash
# Compiles each plugin of src/ into dist/, with the Python in PATH or the one that PYTHON names.
set -euo pipefail
cd "$(dirname "$0")"
export PYTHONPATH=../../guest-sdk/python
for name in user-statistics welcome user-v1-to-v3; do
  "${PYTHON:-python3}" -m wasmill build "src/${name//-/_}.py" "dist/$name.wasm"
done
