"""What the console runs on a box, as scripts for a POSIX sh with coreutils, findutils and setsid.

No Python is needed there. Every script is `sh -c SCRIPT sh ARGUMENT…`; paths are arguments, and whatever is
secret comes in through its standard input.
"""

import shlex
from collections.abc import Sequence

BEGIN = b"\n--- ups begins\n"
"""Stands before a script's own output: the login shell of some images greets on its standard output."""

_GREETING = "printf '\\n--- ups begins\\n'\n"

CANNOT_WRITE = 73
INCOMPLETE = 75
"""The input ended early: the connection was cut."""
NO_SETSID = 69

PIECES = """
piece() {
    size=$(stat -L -c %s /dev/stdin)
    count=$((size - $1))
    [ "$count" -gt "$2" ] && count=$2
    [ "$count" -lt 0 ] && count=0
    echo "$size $count"
    [ "$count" -gt 0 ] && tail -c "+$(($1 + 1))" | head -c "$count"
    return 0
}
while [ $# -ge 3 ]; do
    if [ ! -f "$1" ]; then
        echo "-1 0"
    else
        piece "$2" "$3" <"$1" || [ -f "$1" ] || echo "-1 0"
    fi
    shift 3
done
exit 0
"""
"""PATH OFFSET LIMIT …: for each a line `size count`, then so many bytes; size is -1 where there is no file.

It is opened first: a run may prune it at any time. The count is fixed before the bytes are read, so that a
file may grow meanwhile.
"""

PUT = """
mkdir -p -- "$(dirname -- "$1")" || exit 73
(umask 077 && cat > "$2") || { rm -f -- "$2"; exit 73; }
[ "$(stat -c %s -- "$2")" = "$3" ] || { rm -f -- "$2"; exit 75; }
chmod "$4" -- "$2" && mv -f -- "$2" "$1" || { rm -f -- "$2"; exit 73; }
"""
"""TARGET TEMPORARY BYTES MODE, content on the standard input."""

PREPARE = """
mkdir -p -- "$(dirname -- "$1")" || exit 73
[ -f "$1" ] && [ "$(stat -L -c %s -- "$1")" = "$2" ] || exit 0
[ "$(sha256sum < "$1" | cut -c 1-64)" = "$3" ] && echo same
exit 0
"""
"""TARGET BYTES SHA256: makes the parents; says `same` where the file is there already."""

ADOPT = """
same() { [ -f "$1" ] && [ "$(sha256sum < "$1" | cut -c 1-64)" = "$2" ]; }
if same "$2" "$3"; then
    chmod 644 -- "$2" && mv -f -- "$2" "$1" || same "$1" "$3" || exit 73
elif ! same "$1" "$3"; then
    rm -f -- "$2"
    echo different
fi
exit 0
"""
"""TARGET TEMPORARY SHA256: renames what was transferred, or removes it and says `different`.

The same script of a connection that was cut may have renamed it already, or do so meanwhile.
"""

LIST = """
cd -- "$1" 2>/dev/null || exit 0
find . -type f -printf '%s %P\\0' 2>/dev/null
exit 0
"""
"""DIRECTORY: `size path`, NUL-ended; what vanishes meanwhile is passed over."""

_IDENTITY = """
started() {  # PID: its start in Unix milliseconds; fails where no such process lives
    fields=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    fields=${fields##*") "}
    set -- $fields
    case $1 in Z | X) return 1 ;; esac
    hertz=$(getconf CLK_TCK 2>/dev/null || echo 100)
    boot=$(sed -n 's/^btime //p' /proc/stat)
    echo $((boot * 1000 + ${20} * 1000 / hertz))
}
boot_id=$(cat /proc/sys/kernel/random/boot_id)
"""

START = (
    _IDENTITY
    + """
box=$1 run=$2 token=$3
shift 3
given=$(cat)
case $given in *"#whole") ;; *) exit 75 ;; esac
command -v setsid >/dev/null || { echo "setsid is not installed" >&2; exit 69; }
mkdir -p -- "$box" && cd -- "$box" && mkdir -p -- "$run" || exit 73
if ! mkdir -- "$run/.start-$token" 2>/dev/null; then  # asked for a second time, after a cut
    [ -d "$run/.start-$token" ] || exit 73
    tries=0
    until [ -f "$run/.start-$token/done" ]; do
        tries=$((tries + 1))
        [ "$tries" -gt 20 ] && exit 75
        sleep 0.5
    done
    exit 0
fi
(eval "$given"; exec setsid "$@") </dev/null >>"$run/run.log" 2>&1 &
pid=$!
ms=$(started "$pid") || ms=0
printf '{"pid": %d, "start_time": %d.%03d, "boot_id": "%s"}' \\
    "$pid" "$((ms / 1000))" "$((ms % 1000))" "$boot_id" > "$run/.run.pid.part" &&
    mv -f -- "$run/.run.pid.part" "$run/run.pid" || exit 73
: > "$run/.start-$token/done"
"""
)
"""BOX RUN TOKEN ARGV…, the environment on the standard input. One token starts once."""

FORGET = 'rm -rf -- "$1"'
"""PATH: removes it."""

PROCESS = (
    _IDENTITY
    + """
content=$(cat -- "$1" 2>/dev/null | tr -d '\\n') || exit 0
echo "$content"
pid=$(echo "$content" | sed -n 's/.*"pid": *\\([0-9][0-9]*\\).*/\\1/p')
[ -n "$pid" ] && ms=$(started "$pid") && echo "$pid $ms $boot_id"
exit 0
"""
)
"""PIDFILE: its content in one line; then, where a process has that pid, a line `pid ms boot_id`."""

TERMINATE = (
    _IDENTITY
    + """
ms=$(started "$1") && [ "$ms" = "$2" ] && [ "$boot_id" = "$3" ] && kill -TERM "$1" && echo sent
exit 0
"""
)
"""PID MS BOOT_ID: asks exactly that process to end; says `sent`."""

RUN = """
mkdir -p -- "$1" && cd -- "$1" || exit 73
shift
exec env "$@"
"""
"""BOX NAME=VALUE… ARGV…"""


def command_line(script: str, arguments: Sequence[str]) -> str:
    """The line that any login shell takes for it."""
    return " ".join(["sh", "-c", shlex.quote(_GREETING + script), "sh", *map(shlex.quote, arguments)])


def output(out: bytes) -> bytes | None:
    """What a script has said itself; None where it did not begin."""
    _, found, own = out.partition(BEGIN)
    return own if found else None


def exports(environment: dict[str, str]) -> bytes:
    """The environment as START takes it.

    Raises:
        ValueError: a name that no shell takes, or a value with a NUL.
    """
    for name, value in environment.items():
        if not (name.isascii() and name.isidentifier()):
            raise ValueError(f"{name!r} is no name of an environment variable")
        if "\0" in value:
            raise ValueError(f"the value of {name} holds a NUL")
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()]
    return ("".join(lines) + "#whole").encode()
