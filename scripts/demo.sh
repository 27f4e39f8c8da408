#!/usr/bin/env bash
# Sets up .venv and runs the whole method on photographs that scikit-image installs: bash scripts/demo.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec python scripts/demo.py
