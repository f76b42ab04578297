"""A file is fetched whole and right, or not at all, whatever the server does and whenever we are killed."""

import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tests.simulators.files import Fault, FileServer, md5
from ups.data.download import Fetching, download
from ups.data.http import Patience
from ups.errors import DownloadError, NotFoundError, StoreError

CONTENT = random.Random(0).randbytes(300_000)
HASTY = Fetching(connections=3, part_bytes=64 * 1024, patience=Patience(4, first_s=0.01, timeout_s=0.3))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer({"17": CONTENT}) as opened:
        yield opened


def fetch(server: FileServer, target: Path, *, checksum: str = md5(CONTENT)) -> list[str]:
    return download(f"{server.url}17", target, md5=checksum, progress=lambda *_: None, fetching=HASTY)


def left_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_by_several_connections_through_a_redirect(server: FileServer, tmp_path: Path) -> None:
    server.redirects = True
    told: list[tuple[str, int, int]] = []
    download(
        f"{server.url}17", tmp_path / "a" / "f.h5", md5=md5(CONTENT),
        progress=lambda *what: told.append(what), fetching=HASTY,
    )  # fmt: skip
    assert (tmp_path / "a" / "f.h5").read_bytes() == CONTENT
    assert left_of(tmp_path / "a") == ["f.h5"]
    assert len([asked for asked in server.requests if asked != "bytes=0-0"]) == 5
    assert told[-1] == ("check f.h5", 300_000, 300_000)
    assert fetch(server, tmp_path / "a" / "f.h5") == []
    assert server.served == 300_001  # it is there: nothing is asked for


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(cut_after=20_000), Fault(cut_after=0), Fault(cut_after=40_000)],
        [Fault(stall_after=30_000)],
        [Fault(503), Fault(429, {"Retry-After": "0"}), Fault(500), Fault(503, {"Retry-After": "soon"})],
    ],
    ids=["cuts", "stalls", "is busy"],
)
def test_a_server_that_fails_now_and_then_is_asked_again(
    server: FileServer, tmp_path: Path, faults: list[Fault]
) -> None:
    server.faults.extend(faults)
    assert fetch(server, tmp_path / "f.h5") == []
    assert (tmp_path / "f.h5").read_bytes() == CONTENT


def test_a_pause_that_the_server_asks_for_is_kept(server: FileServer, tmp_path: Path) -> None:
    server.faults.extend([Fault(503, {"Retry-After": "1"})] * 3)
    began = time.monotonic()
    fetch(server, tmp_path / "f.h5")
    assert time.monotonic() - began >= 1.0


def test_a_server_that_stays_away_ends_in_an_error_that_keeps_what_came(
    server: FileServer, tmp_path: Path
) -> None:
    server.faults.extend([Fault(cut_after=40_000)] * 3 + [Fault(503)] * 20)
    with pytest.raises(DownloadError, match=r"f\.h5 cannot be fetched: the server answers 503 \(4 attempts"):
        fetch(server, tmp_path / "f.h5")
    assert not (tmp_path / "f.h5").exists()
    server.faults.clear()
    before = server.served
    fetch(server, tmp_path / "f.h5")
    assert server.served - before <= len(CONTENT) - 3 * 32 * 1024 + 1


def test_a_server_without_ranges_is_read_in_one_go(server: FileServer, tmp_path: Path) -> None:
    server.ranges = False
    server.faults.extend([Fault(), Fault(cut_after=100_000)])
    (note,) = fetch(server, tmp_path / "f.h5")
    assert "only as a whole" in note
    assert (tmp_path / "f.h5").read_bytes() == CONTENT


def test_a_file_that_has_changed_is_begun_anew(server: FileServer, tmp_path: Path) -> None:
    server.faults.extend([Fault(cut_after=40_000)] * 3 + [Fault(503)] * 20)
    with pytest.raises(DownloadError):
        fetch(server, tmp_path / "f.h5")
    server.faults.clear()
    server.files["17"] = changed = bytes(reversed(CONTENT))
    server.version = "2"
    fetch(server, tmp_path / "f.h5", checksum=md5(changed))
    assert (tmp_path / "f.h5").read_bytes() == changed


def test_the_wrong_bytes_never_get_the_name(server: FileServer, tmp_path: Path) -> None:
    server.files["17"] = CONTENT[:-1] + b"?"
    with pytest.raises(DownloadError, match=rf"f\.h5 from .* has the MD5 \w+, it should be {md5(CONTENT)}"):
        fetch(server, tmp_path / "f.h5")
    assert [name for name in left_of(tmp_path) if name != "f.h5.lock"] == []


def test_a_file_that_is_not_there_is_not_asked_for_again(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"the server has no f\.h5"):
        download(f"{server.url}18", tmp_path / "f.h5", md5="0" * 32, progress=lambda *_: None)
    server.faults.append(Fault(403))
    with pytest.raises(DownloadError, match="answers 403"):
        fetch(server, tmp_path / "f.h5")


def test_without_room_nothing_is_asked_for(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ups.data.unfinished.free_bytes", lambda _: 1000)
    with pytest.raises(StoreError, match=r"needs 0 MB more, but .* has 0 MB free"):
        fetch(server, tmp_path / "f.h5")
    assert server.served == 1


CHILD = """
import sys
from pathlib import Path
from ups.data.download import Fetching, download
from ups.errors import UpsError
try:
    download(sys.argv[1], Path(sys.argv[2]), md5=sys.argv[3], progress=lambda *_: None,
             fetching=Fetching(connections=4, part_bytes=4 * 1024 * 1024))
except UpsError as error:
    print(error.message)
    raise SystemExit(error.exit_code)
"""


def child(
    server: FileServer, target: Path, checksum: str, *, most_bytes: int | None = None
) -> "subprocess.Popen[str]":
    def limit() -> None:
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    return subprocess.Popen(
        [sys.executable, "-c", CHILD, f"{server.url}17", str(target), checksum],
        stdout=subprocess.PIPE, text=True, preexec_fn=limit,
    )  # fmt: skip


def test_a_full_disk_is_told_and_leaves_nothing_under_the_name(server: FileServer, tmp_path: Path) -> None:
    process = child(server, tmp_path / "f.h5", md5(CONTENT), most_bytes=100_000)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 6
    assert "no space left to write" in said
    assert not (tmp_path / "f.h5").exists()


def test_twenty_kills_cost_less_than_a_twentieth_of_the_file(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(24_000_000)
    moments = sorted(random.Random(2).uniform(0.02, 0.95) * len(content) for _ in range(20))
    with FileServer({"17": content}) as server:
        server.redirects = True
        server.bytes_per_second = 4e6
        for moment in moments:
            process = child(server, tmp_path / "f.h5", md5(content))
            while server.served < moment and process.poll() is None:
                time.sleep(0.002)
            assert process.poll() is None, "it ended before it was killed"
            process.kill()
            process.wait()
            assert not (tmp_path / "f.h5").exists()
        process = child(server, tmp_path / "f.h5", md5(content))
        assert process.wait(timeout=PATIENCE_S) == 0
        again = (server.served - len(content)) / len(content)
    print(f"20 kills: {again:.2%} of {len(content) / 1e6:.0f} MB fetched again")
    assert (tmp_path / "f.h5").read_bytes() == content
    assert again < 0.05
