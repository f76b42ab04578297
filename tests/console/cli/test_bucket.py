"""A bucket named in `.env` is the store of every command, and its key is seen nowhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.buckets import b2_settings
from tests.simulators.b2 import B2Server
from ups import catalog
from ups.stores.s3 import S3Store

_COMMAND = [sys.executable, "-c", "from console.cli.app import main; main()"]


@pytest.mark.needs_module("torch")
def test_data_are_made_listed_and_verified_in_it(
    b2_server: B2Server, b2_store: S3Store, tmp_path: Path
) -> None:
    settings = b2_store._settings
    key = settings.credentials
    (tmp_path / ".env").write_text(
        f"B2_BUCKET={settings.bucket}\nB2_PREFIX='{settings.prefix}'\nB2_KEY_ID={key.key_id}\n"
        f'export B2_APP_KEY="{key.secret}"\nB2_S3_ENDPOINT={b2_server.url}\nB2_S3_REGION={settings.region}\n'
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

    def ups(*arguments: str) -> list[object]:
        done = subprocess.run(
            [*_COMMAND, *arguments, "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert key.secret not in done.stdout + done.stderr
        return [json.loads(line) for line in done.stdout.splitlines() if line]

    ups("data", "make", "advection1d", "--samples", "10")
    assert catalog.verify(b2_store, "advection1d", lambda *_: None).state == "verified"
    assert '"verified"' in json.dumps(ups("datasets"))
    assert ups("data", "verify")
    home = Path(os.environ["UPS_HOME"])
    assert not any(
        key.secret in path.read_text("utf-8", "replace") for path in home.rglob("*") if path.is_file()
    )


def test_a_bucket_that_refuses_the_key_ends_a_command_with_6(b2_server: B2Server, tmp_path: Path) -> None:
    settings = b2_settings(b2_server)
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "UPS_STORE": settings.url, "B2_KEY_ID": settings.credentials.key_id, "B2_APP_KEY": "K004wrong",
        "B2_S3_ENDPOINT": settings.endpoint, "B2_S3_REGION": settings.region,
    }  # fmt: skip
    done = subprocess.run(
        [*_COMMAND, "datasets", "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 6
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert error["code"] == "store"
    assert "key" in error["message"]
    assert "K004wrong" not in done.stderr
