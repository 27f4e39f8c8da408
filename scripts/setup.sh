# Sourced by the other scripts: makes the virtual environment .venv with everything in it, once.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.12 python3.11 python3.10 python3; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo 'error: Python 3.10, 3.11 or 3.12 with venv is needed (python3-venv on Debian); set PYTHON to one' >&2
    return 2
}

# What is installed depends on the file down to the settings of tools
metadata() { sed '/^\[tool\./,$d' pyproject.toml; }

stamp=.venv/.installed
if ! metadata | cmp -s - "$stamp"; then
    python=$(find_python)
    echo "Setting up .venv with $python (torch is several GB, a few minutes) …"
    "$python" -m venv --clear .venv
    pip() { .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }
    pip --upgrade pip
    # basicsr builds from source and wants torch for it: given here, or pip would fetch a second one for the build
    pip torch torchvision setuptools wheel cython numpy
    pip --no-build-isolation basicsr==1.4.2
    pip --editable '.[demo,docs,test,web,export]'
    metadata >"$stamp"
fi
# shellcheck disable=SC1091
source .venv/bin/activate
