#!/usr/bin/env bash
# The console's main job without a terminal: reference data where the store has none, then one run,
# followed line by line, with its report at the end.
set -euo pipefail

ups="${VENV:-.venv}/bin/ups-console"
tasks=(advection1d darcy2d)

echo "no terminal here: running configs/local_2task.yaml headless" >&2
missing=$("$ups" datasets --json | "${VENV:-.venv}/bin/python" -c '
import json, sys
states = {row["task"]: row["state"] for row in json.load(sys.stdin)}
print(*(task for task in sys.argv[1:] if states.get(task, "missing") == "missing"))
' "${tasks[@]}")
# shellcheck disable=SC2086 -- one word per task
[ -z "$missing" ] || "$ups" data make $missing
exec "$ups" launch configs/local_2task.yaml
