"""Stores in buckets of loopback servers, for any test; a server runs once a test process.

Imports are where they are used: most tests need no bucket.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from benchmarks.support.rclone_server import RcloneServer
    from tests.simulators.b2 import B2Server, Key
    from ups.stores.s3 import S3Store
    from ups.stores.s3_settings import BucketSettings, Patience

SMALL_PART = 5 * 1024 * 1024
"""The smallest parts that the protocol has."""
OpenStore = Callable[["BucketSettings"], "S3Store"]


@pytest.fixture(scope="session")
def b2_server() -> Iterator["B2Server"]:
    """A server that answers as Backblaze's do."""
    from tests.simulators import b2

    server = b2.B2Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["RcloneServer"]:
    """`rclone serve s3`."""
    from benchmarks.support import rclone_server as rclone

    if rclone.rclone_program() is None:
        pytest.skip("needs program: rclone")
    server = rclone.RcloneServer(tmp_path_factory.mktemp("rclone"))
    yield server
    server.close()


def hurried() -> "Patience":
    """For servers on loopback."""
    from ups.stores.s3_settings import Patience

    return Patience(attempts=3, longest_s=0.05, total_s=10.0, connect_s=2.0, silence_s=2.0, part_s=20.0)


def b2_settings(
    server: "B2Server", key: "Key | None" = None, *, prefix: str = "pre/fix/"
) -> "BucketSettings":
    """The place of a key; of a new one to a new bucket by default."""
    from tests.simulators import b2
    from ups.stores.s3_settings import BucketSettings, Credentials

    found = key or server.new_key(server.new_bucket(), prefix=prefix)
    credentials = Credentials(found.key_id, found.secret)
    return BucketSettings(found.bucket, prefix, server.url, b2.REGION, credentials, patience=hurried())


def rclone_settings(server: "RcloneServer") -> "BucketSettings":
    """A place in a new bucket."""
    from benchmarks.support.rclone_server import REGION
    from ups.stores.s3_settings import BucketSettings, Credentials

    credentials = Credentials(server.key_id, server.secret)
    return BucketSettings(
        server.new_bucket(), "pre/fix/", server.url, REGION, credentials, patience=hurried()
    )


@pytest.fixture
def open_bucket(tmp_path: Path) -> OpenStore:
    """Opens a store with small parts and a scratch directory of the test's own."""
    from ups.stores.s3 import S3Store
    from ups.stores.s3_upload import Lanes

    lanes = Lanes(lanes=4, part_bytes=SMALL_PART)
    return lambda settings: S3Store(settings, lanes=lanes, scratch=tmp_path / "scratch")


@pytest.fixture
def b2_store(b2_server: "B2Server", open_bucket: OpenStore) -> "S3Store":
    """An empty store in a bucket that answers as Backblaze's do."""
    return open_bucket(b2_settings(b2_server))


@pytest.fixture
def rclone_store(rclone_server: "RcloneServer", open_bucket: OpenStore) -> "S3Store":
    """An empty store in a bucket of `rclone serve s3`."""
    return open_bucket(rclone_settings(rclone_server))
