"""A transfer that is killed anywhere leaves nothing half visible, and its repeat moves what was missing.

`UPS_KILL_POINTS=30 pytest -n 0 tests/ups/stores/test_s3_kills.py` kills at thirty points each.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.buckets import OpenStore, b2_settings
from tests.simulators.b2 import B2Server
from tests.simulators.courier import Courier
from ups.store import Upload
from ups.stores.s3 import S3Store

POINTS = int(os.environ.get("UPS_KILL_POINTS", "3"))
SMALL, LARGE = [200_000] * 12, [11 * 1024 * 1024]
TOTAL = sum(SMALL) + sum(LARGE)
_LANES = 4
_LOST = _LANES * 2 * 1024 * 1024
"""Bytes that had arrived at a killed process without being noted."""
_CHILD = """
import json, sys
from pathlib import Path
from ups.store import Download, Upload
from ups.stores.s3 import S3Store
from ups.stores.s3_settings import BucketSettings, Credentials
from ups.stores.s3_upload import Lanes

given = json.loads(sys.stdin.read())
settings = BucketSettings(**{**given["settings"], "credentials": Credentials(*given["key"])})
store = S3Store(settings, lanes=Lanes(lanes=4, part_bytes=5 * 1024 * 1024), scratch=Path(given["scratch"]))
if given["direction"] == "up":
    store.upload_all([Upload(Path(path), key) for path, key in given["files"]])
    store.write_bytes("set/manifest.json", b"{}")
else:
    store.download_all([Download(key, Path(path), sha256) for path, key, sha256 in given["files"]])
"""


@pytest.fixture
def courier(b2_server: B2Server) -> Iterator[Courier]:
    with Courier(b2_server.url) as open_courier:
        yield open_courier


@pytest.fixture
def source(tmp_path: Path) -> dict[str, Path]:
    """key → file."""
    files = {}
    for index, size in enumerate(SMALL + LARGE):
        path = tmp_path / "source" / f"{index}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(random.Random(index).randbytes(size))
        files[f"set/{index}"] = path
    return files


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Killed:
    """A process that transfers, and is killed once so many bytes are under way."""

    def __init__(self, store: S3Store, courier: Courier, scratch: Path) -> None:
        settings = replace(store._settings, endpoint=courier.url)
        self._courier = courier
        self._given = {
            "settings": {
                "bucket": settings.bucket, "prefix": settings.prefix, "endpoint": settings.endpoint,
                "region": settings.region,
            },
            "key": [settings.credentials.key_id, settings.credentials.secret],
            "scratch": str(scratch),
        }  # fmt: skip

    def run(self, direction: str, files: list[list[str]], *, after: int | None) -> None:
        before = self._courier.moved
        child = subprocess.Popen([sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, text=True)
        assert child.stdin is not None
        with child.stdin as stdin:
            stdin.write(json.dumps({**self._given, "direction": direction, "files": files}))
        while child.poll() is None:
            if after is not None and self._courier.moved - before >= after:
                child.send_signal(signal.SIGKILL)
                child.wait()
            time.sleep(0.002)
        assert child.returncode == (0 if after is None else -signal.SIGKILL)
        self._courier.settle()


@pytest.mark.parametrize("point", range(POINTS))
def test_uploads(
    b2_server: B2Server, courier: Courier, open_bucket: OpenStore, source: dict[str, Path], tmp_path: Path,
    point: int,
) -> None:  # fmt: skip
    store = open_bucket(b2_settings(b2_server))
    killed = Killed(store, courier, tmp_path / "scratch")
    courier.bytes_per_second = 20e6
    files = [[str(path), key] for key, path in source.items()]
    killed.run("up", files, after=random.Random(point).randrange(TOTAL))
    visible = {info.key: info for info in store.list()}
    assert "set/manifest.json" not in visible
    for key in visible:
        assert hashlib.sha256(store.read_bytes(key)).hexdigest() == sha256(source[key])
    courier.bytes_per_second = None
    killed.run("up", files, after=None)
    assert courier.sent() == TOTAL + len(b"{}")  # nothing twice
    for key, path in source.items():
        assert hashlib.sha256(store.read_bytes(key)).hexdigest() == sha256(path)
    assert store.find("set/manifest.json") is not None


@pytest.mark.parametrize("point", range(POINTS))
def test_downloads(
    b2_server: B2Server, courier: Courier, open_bucket: OpenStore, source: dict[str, Path], tmp_path: Path,
    point: int,
) -> None:  # fmt: skip
    store = open_bucket(b2_settings(b2_server))
    killed = Killed(store, courier, tmp_path / "scratch")
    store.upload_all([Upload(path, key) for key, path in source.items()])
    target = tmp_path / "target"
    files = [[str(target / path.name), key, sha256(path)] for key, path in source.items()]
    courier.bytes_per_second = 20e6
    after = random.Random(100 + point).randrange(TOTAL)
    killed.run("down", files, after=after)
    for path in source.values():
        copy = target / path.name
        assert not copy.exists() or sha256(copy) == sha256(path)
    courier.bytes_per_second = None
    before = courier.moved
    killed.run("down", files, after=None)
    assert courier.moved - before <= TOTAL - after + _LOST
    assert sorted(path.name for path in target.iterdir()) == sorted(path.name for path in source.values())
    assert all(sha256(target / path.name) == sha256(path) for path in source.values())
