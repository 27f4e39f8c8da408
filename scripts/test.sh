#!/usr/bin/env bash
# Sets up .venv and runs the checks and the whole test suite: bash scripts/test.sh [arguments of pytest]
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
ruff check .
mypy
# One thread: the networks of the tests are small, and several processes would only get into each other's way
OMP_NUM_THREADS=1 exec python -m pytest "$@"
