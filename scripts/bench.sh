#!/usr/bin/env bash
# Runs every benchmark with the given arguments; fails when one of them failed, after running all.
set -uo pipefail

failed=()
for benchmark in benchmarks/*.py; do
    [ "$(basename "$benchmark")" = __init__.py ] && continue
    echo "== $benchmark $*"
    "${VENV:-.venv}/bin/python" "$benchmark" "$@" || failed+=("$benchmark")
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "error: a bar was not held in: ${failed[*]}" >&2
    exit 1
fi
