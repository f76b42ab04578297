"""One transfer of a folder to or from a bucket, by ours or by boto3, as a process to be measured.

`python benchmarks/support/transfers.py ours|boto3 up|down FOLDER PREFIX HASHES`; where the bucket is and its
key come from the environment, as they do for users. Ours computes a sha256 of every byte on the way up and
compares it on the way down (HASHES: a JSON file of name → sha256); boto3 does not.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if TYPE_CHECKING:
    from ups.stores.s3_settings import BucketSettings

BOTO3_LANES = 16


def ours(direction: str, folder: Path, url: str, hashes: Path) -> None:
    """Move the folder with the store."""
    from ups.store import Download, Upload, open_store

    store = open_store(url)
    if direction == "up":
        names = _names(folder)
        digests = store.upload_all([Upload(folder / name, name) for name in names])
        hashes.write_text(json.dumps(dict(zip(names, digests, strict=True))))
    else:
        known: Mapping[str, str] = json.loads(hashes.read_text())
        store.download_all([Download(name, folder / name, sha256) for name, sha256 in known.items()])


def boto3(direction: str, folder: Path, url: str, hashes: Path) -> None:
    """Move the folder with one transfer manager of boto3, several files at once."""
    import boto3 as sdk
    from boto3.s3.transfer import TransferConfig, create_transfer_manager
    from botocore.config import Config

    from ups.stores.s3_settings import bucket_settings

    settings = bucket_settings(url)
    client = sdk.client(
        "s3", endpoint_url=settings.endpoint, region_name=settings.region,
        aws_access_key_id=settings.credentials.key_id, aws_secret_access_key=settings.credentials.secret,
        config=Config(
            s3={"addressing_style": "path"}, max_pool_connections=BOTO3_LANES,
            request_checksum_calculation="when_required", response_checksum_validation="when_required",
        ),
    )  # fmt: skip
    config = TransferConfig(
        max_concurrency=BOTO3_LANES, multipart_threshold=128 * 2**20, preferred_transfer_client="classic"
    )
    names = _names(folder) if direction == "up" else list(json.loads(hashes.read_text()))
    for parent in {(folder / name).parent for name in names}:
        parent.mkdir(parents=True, exist_ok=True)
    with create_transfer_manager(client, config) as manager:
        begin = manager.upload if direction == "up" else manager.download
        for future in [begin(*_ends(direction, settings, folder, name)) for name in names]:
            future.result()


def _ends(direction: str, settings: "BucketSettings", folder: Path, name: str) -> tuple[str, str, str]:
    """What the transfer manager wants to know of one file, in its order."""
    path, bucket, key = str(folder / name), settings.bucket, settings.prefix + name
    return (path, bucket, key) if direction == "up" else (bucket, key, path)


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    side, direction, folder, url, hashes = sys.argv[1:]
    {"ours": ours, "boto3": boto3}[side](direction, Path(folder), url, Path(hashes))
