"""How fast a run's events come here over SSH, and how far behind the copy is.

A real sshd on this machine is the box. Ours is the console's mirror, as `ups-console` runs it: one
connection, the events compared, appended, searched for files to fetch. The peer is OpenSSH's client with
`tail -c +1`, which does nothing but copy. They take turns, connecting anew; the median of the turns counts.

*Backlog* is a run that was away from the network: all its lines at once. *Lag* is a run that writes 5,000
lines a second: the age of a line when it is here, at worst. Ours looks five times a second, as the
console does; the peer is told of each write (`tail -f`). The `required` rows have a fixed figure for a peer.
On two cores the server, its cipher and the writer compete with the client.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support.comparison import Row, arguments, finish
from console.runs.mirror import Mirror
from console.runs.ssh import SshTransport
from console.runs.ssh_client import ssh_argv
from tests.simulators import sshd
from ups.rundir import RunDirectory

REQUIRED_LINES_S = 100_000.0
REQUIRED_LAG_S = 1.0
_RATE = 5_000
_LOOK_S = 0.2
_LINE_BYTES = 120
_PEER = "ssh tail"
_WRITER = """
import sys, time
from benchmarks.tail import line
path, rate, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
began, count = time.time(), 0
with open(path, "ab", buffering=0) as file:
    while (now := time.time()) < began + seconds:
        due = int((now - began) * rate)
        file.write(b"".join(line(seq, now) for seq in range(count, due)))
        count = due
        time.sleep(0.01)
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    lines: int
    """Of the backlog."""
    seconds: float
    """For which lines are written."""
    turns: int


_FULL, _QUICK = Sizes(1_000_000, 15.0, 5), Sizes(200_000, 3.0, 3)


@dataclass(frozen=True, slots=True)
class Used:
    """What a copy of the backlog took."""

    wall: float
    cpu: float
    """Seconds of the client, without the server's."""


class Box:
    """A server, and the run directory behind it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = folder / "key"
        self._known_hosts = folder / "known_hosts"
        self.server = sshd.Sshd(folder / "sshd", public_keys=[sshd.new_key(self._key)])
        self.events = folder / "box" / "run" / "events.jsonl"
        self.events.parent.mkdir(parents=True)
        self.transport = SshTransport(
            self.server.address,
            key=self._key,
            known_hosts=self._known_hosts,
            box=str(folder / "box"),
            python=sys.executable,
            marker={},
        )
        self.transport.open()

    def mirror(self) -> Mirror:
        """A new and empty one."""
        local = self._folder / "mirror"
        shutil.rmtree(local, ignore_errors=True)
        return Mirror(self.transport, "run", RunDirectory(local))

    def tail(self, *options: str) -> list[str]:
        """The peer's command, which copies to its standard output."""
        command = ["tail", *options, str(self.events)]
        return ssh_argv(self.server.address, self._key, self._known_hosts, command)

    def close(self) -> None:
        self.transport.close()
        self.server.close()


def line(seq: int, t: float) -> bytes:
    """An event as the runtime writes them."""
    start = f'{{"seq":{seq},"t":{t:.6f},"type":"metric","stage":"operator","step":{seq},"values":{{"loss":'
    end = "}}\n"
    return f"{start}{'0.' + '1' * (_LINE_BYTES - len(start) - len(end) - 2)}{end}".encode()


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    options = arguments(__doc__).parse_args(given)
    if sshd.program() is None or shutil.which("ssh") is None:
        print("error: OpenSSH's server and client are not installed", file=sys.stderr)
        return 3
    sizes = _QUICK if options.quick else _FULL
    with tempfile.TemporaryDirectory(prefix="ups-tail-") as folder:
        box = Box(Path(folder))
        try:
            rows = [*_backlog(box, sizes), *_lag(box, sizes)]
        finally:
            box.close()
    return finish(rows, options.json)


def _backlog(box: Box, sizes: Sizes) -> list[Row]:
    box.events.write_bytes(b"".join(line(seq, 1.0) for seq in range(sizes.lines)))
    target = box.events.parents[2] / "tail.jsonl"
    ours, peer = [], []
    for _ in range(sizes.turns):
        mirror = box.mirror()
        box.transport.close()
        ours.append(_timed(lambda mirror=mirror: _pull_all(mirror)))
        _require_equal(mirror.local.events_path, box.events)
        peer.append(_timed(lambda: _copy(box.tail("-c", "+1"), target)))
        _require_equal(target, box.events)

    def rate(turns: Sequence[Used]) -> float:
        return sizes.lines / statistics.median(used.wall for used in turns)

    def cpu(turns: Sequence[Used]) -> float:
        return statistics.median(used.cpu for used in turns) / sizes.lines * 1e6

    return [
        Row("backlog", rate(ours), REQUIRED_LINES_S, "required", "lines/s", "higher", 1.0),
        Row("backlog", rate(ours), rate(peer), _PEER, "lines/s", "higher"),
        Row("CPU of 10⁶ lines", cpu(ours), cpu(peer), _PEER, "s", "lower"),
    ]


def _pull_all(mirror: Mirror) -> None:
    while mirror.pull():
        pass


def _copy(command: Sequence[str], target: Path) -> None:
    with target.open("wb") as file:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, check=True)


def _timed(what: Callable[[], None]) -> Used:
    began, cpu = time.perf_counter(), _cpu_seconds()
    what()
    return Used(time.perf_counter() - began, _cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _require_equal(copy: Path, original: Path) -> None:
    if copy.read_bytes() != original.read_bytes():
        raise RuntimeError(f"{copy} is not {original}")


# --- lag ------------------------------------------------------------------------------------------


def _lag(box: Box, sizes: Sizes) -> list[Row]:
    ours = _worst_age_mirrored(box, sizes.seconds)
    peer = _worst_age_tailed(box, sizes.seconds)
    return [
        Row(f"lag at {_RATE} lines/s", ours, REQUIRED_LAG_S, "required", "s", "lower", 1.0),
        Row(f"lag at {_RATE} lines/s", ours, peer, f"{_PEER} -f", "s", "lower"),
    ]


def _worst_age_mirrored(box: Box, seconds: float) -> float:
    mirror = box.mirror()
    with _writing(box, seconds) as writer:
        worst, offset = 0.0, 0
        while writer.poll() is None:
            mirror.pull()
            now = time.time()
            size = mirror.local.events_path.stat().st_size if mirror.local.events_path.exists() else 0
            if size > offset:
                worst = max(worst, now - _time_at(mirror.local.events_path, offset))
                offset = size
            time.sleep(_LOOK_S)
    return worst


def _worst_age_tailed(box: Box, seconds: float) -> float:
    box.events.write_bytes(b"")
    with subprocess.Popen(
        box.tail("-c", "+1", "-f"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as client:
        assert client.stdout is not None
        os.set_blocking(client.stdout.fileno(), False)
        with _writing(box, seconds) as writer:
            worst, rest = 0.0, b""
            while writer.poll() is None:
                content = client.stdout.read() or b""
                now = time.time()
                rest += content
                if b"\n" in rest:
                    worst = max(worst, now - float(json.loads(rest[: rest.index(b"\n")])["t"]))
                    rest = rest[rest.rindex(b"\n") + 1 :]
                time.sleep(0.005)
        client.terminate()
    return worst


def _time_at(path: Path, offset: int) -> float:
    with path.open("rb") as file:
        file.seek(offset)
        return float(json.loads(file.readline())["t"])


def _writing(box: Box, seconds: float) -> "subprocess.Popen[bytes]":
    box.events.write_bytes(b"")
    command = [sys.executable, "-c", _WRITER, str(box.events), str(_RATE), str(seconds)]
    root = str(Path(__file__).resolve().parents[1])
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": root})


if __name__ == "__main__":
    sys.exit(main())
