"""Stores in buckets of the loopback servers, for any test; a server runs once a test process."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.simulators import b2, rclone
from ups.stores.s3 import S3Store
from ups.stores.s3_settings import BucketSettings, Credentials, Patience
from ups.stores.s3_upload import Lanes

HURRIED = Patience(attempts=3, longest_s=0.05, total_s=10.0, connect_s=2.0, silence_s=2.0, part_s=20.0)
"""For servers on loopback."""
SMALL = Lanes(lanes=4, part_bytes=5 * 1024 * 1024)
"""The smallest parts that the protocol has."""


@pytest.fixture(scope="session")
def b2_server() -> Iterator[b2.B2Server]:
    with b2.serving() as server:
        yield server


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rclone.RcloneServer]:
    if rclone.rclone_program() is None:
        pytest.skip("needs program: rclone")
    with rclone.serving(tmp_path_factory.mktemp("rclone")) as server:
        yield server


def settings_at(
    server: b2.B2Server | rclone.RcloneServer, key: b2.Key | None = None, *, prefix: str = "pre/fix/"
) -> BucketSettings:
    """A new bucket, or that of a key."""
    if isinstance(server, b2.B2Server):
        found = key or server.new_key(server.new_bucket(), prefix=prefix)
        credentials = Credentials(found.key_id, found.secret)
        return BucketSettings(found.bucket, prefix, server.url, b2.REGION, credentials, patience=HURRIED)
    credentials = Credentials(server.key_id, server.secret)
    return BucketSettings(
        server.new_bucket(), prefix, server.url, rclone.REGION, credentials, patience=HURRIED
    )


@pytest.fixture
def new_bucket_store(tmp_path: Path) -> Callable[[BucketSettings], S3Store]:
    """Opens a store with small parts and a scratch directory of the test's own."""
    return lambda settings: S3Store(settings, lanes=SMALL, scratch=tmp_path / "scratch")


@pytest.fixture
def b2_store(b2_server: b2.B2Server, new_bucket_store: Callable[[BucketSettings], S3Store]) -> S3Store:
    """An empty store in a bucket that answers as Backblaze's do."""
    return new_bucket_store(settings_at(b2_server))


@pytest.fixture
def rclone_store(
    rclone_server: rclone.RcloneServer, new_bucket_store: Callable[[BucketSettings], S3Store]
) -> S3Store:
    """An empty store in a bucket of `rclone serve s3`."""
    return new_bucket_store(settings_at(rclone_server))
