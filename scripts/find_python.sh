#!/usr/bin/env bash
# Prints a Python 3.11 or later that can make virtual environments, or says on stderr how to get one.
# A candidate is started rather than looked up: a version manager's shim can exist and still fail.
set -euo pipefail

usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

if [ -n "${PYTHON:-}" ]; then
    usable "$PYTHON" && { echo "$PYTHON"; exit 0; }
    echo "error: PYTHON=$PYTHON is not a Python 3.11 or later with the modules venv and ensurepip" >&2
    exit 1
fi

for candidate in python3.13 python3.12 python3.11 python3; do
    usable "$candidate" && { echo "$candidate"; exit 0; }
done

sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo "
if command -v apt-get >/dev/null 2>&1; then
    package=python3-venv
    # Where the distribution's own Python is too old, it often has a newer one beside it.
    if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        for version in 3.13 3.12 3.11; do
            apt-cache show "python$version-venv" >/dev/null 2>&1 && { package=python$version-venv; break; }
        done
    fi
    command="${sudo}apt-get update && ${sudo}apt-get install -y $package"
elif command -v brew >/dev/null 2>&1; then
    command="brew install python@3.13"
elif command -v dnf >/dev/null 2>&1; then
    command="${sudo}dnf install -y python3.12"
else
    command="install Python 3.13 from https://www.python.org/downloads/"
fi
echo "error: there is no Python 3.11 or later with the venv module here. Get it with" >&2
echo "    $command" >&2
exit 1
