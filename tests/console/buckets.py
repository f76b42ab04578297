"""Operations over a bucket that costs money, though it is a directory, and runs that used what is in it."""

from dataclasses import replace
from functools import cached_property

from console.home import Home
from console.operations import Operations
from console.settings import Settings, read_settings
from tests.ups.stored import Bucket
from ups.store import ObjectStore


class BucketOperations(Operations):
    """Over a bucket that costs money, though it is a directory."""

    def __init__(self, home: Home, bucket: Bucket) -> None:
        super().__init__(home)
        self.bucket = bucket

    @cached_property
    def settings(self) -> Settings:
        return replace(read_settings(self.home, environment={}), store_url="s3://bucket/prefix")

    def store(self) -> ObjectStore:
        return self.bucket


def write_run(home: Home, run: str, hashes: dict[str, str], text: str = "") -> None:
    folder = home.runs / run / "attempt-1"
    folder.mkdir(parents=True)
    pins = "".join(f"    {split}: {sha256}\n" for split, sha256 in hashes.items())
    (folder / "run.yaml").write_text(f"tasks: [advection1d]\ndatasets:\n  advection1d:\n{pins}{text}\n")
