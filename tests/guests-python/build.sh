#!/usr/bin/env bash
# Compiles clock.py into dist/clock.wasm, with the Python in PATH or the one that PYTHON names.
set -euo pipefail
cd "$(dirname "$0")"
export PYTHONPATH=../../guest-sdk/python
"${PYTHON:-python3}" -m wasmill build clock.py dist/clock.wasm
