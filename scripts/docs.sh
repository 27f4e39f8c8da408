#!/usr/bin/env bash
# Sets up .venv and builds the documentation strictly into build/site: bash scripts/docs.sh [serve]
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
exec python -m mkdocs "${1:-build}" --strict
