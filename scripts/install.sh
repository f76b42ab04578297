#!/usr/bin/env bash
# Makes the virtual environment with everything the project, its training and its tests need.
set -euo pipefail

venv=${VENV:-.venv}
log=$venv/install.log

python=$(bash scripts/find_python.sh)
home=$(pwd -P)
if ! "$venv/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 ||
    { [ -e "$venv/.installed" ] && [ "$(cat "$venv/.installed")" != "$home" ]; }; then
    echo "making $venv with $("$python" --version) ($python)"
    "$python" -m venv --clear "$venv"
fi

index=()
if [ -n "${TORCH_INDEX:-}" ]; then
    index=(--extra-index-url "$TORCH_INDEX")
elif [ "$(uname -s)" = Linux ] && [ ! -e /dev/nvidia0 ] && ! command -v nvidia-smi >/dev/null 2>&1 &&
    ! "$venv/bin/python" -m pip show --quiet torch 2>/dev/null; then
    echo "note: no NVIDIA GPU here; TORCH_INDEX=https://download.pytorch.org/whl/cpu makes the download much smaller"
fi

# pip's own account of some sixty packages goes to the log; the screen gets what takes long.
large='\(([0-9]{2,}\.[0-9]+ MB|[0-9.]+ GB)\)'
progress() {
    while IFS= read -r line; do
        case $line in
            *"Installing collected packages: "*)
                set -- ${line#*: }
                echo "  installing $# package(s)" ;;
            *Downloading*) [[ $line =~ $large ]] && echo "  ${line#"${line%%[! ]*}"}" ;;
            *ERROR:* | *error:*) echo "$line" ;;
        esac
    done
}
echo "installing into $venv (log: $log)"
if ! "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off "${index[@]+"${index[@]}"}" \
    -e '.[train,vast,dev,bench]' 2>&1 | tee "$log" | progress; then
    echo "error: pip failed; the last lines of $log:" >&2
    tail -n 15 "$log" >&2
    exit 1
fi
echo "$home" >"$venv/.installed"
echo "ready: $venv/bin/ups-console"
