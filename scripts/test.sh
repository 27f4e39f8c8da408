#!/usr/bin/env bash
# Sets up .venv and runs the checks and the whole test suite: bash scripts/test.sh [arguments of pytest]
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
ruff check .
# On 3.10 mypy takes (..., *x) for newer syntax, and the last NumPy has other types
if python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then mypy; fi
# One thread: the networks of the tests are small, and several processes would only get into each other's way
OMP_NUM_THREADS=1 exec python -m pytest "$@"
