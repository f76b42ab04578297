"""One transfer of a folder to or from a bucket, by ours or by boto3, as a process to be measured.

`python benchmarks/support/transfers.py ours|boto3 up|down FOLDER PREFIX HASHES`; where the bucket is and its
key come from the environment, as they do for users. Ours computes a sha256 of every byte on the way up and
compares it on the way down (HASHES: a JSON file of name → sha256); boto3 does not.
"""

import json
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

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
    """Move the folder with boto3's transfer manager, several files at once."""
    import boto3 as sdk
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config

    from ups.stores.s3_settings import bucket_settings

    settings = bucket_settings(url)
    client = sdk.client(
        "s3", endpoint_url=settings.endpoint, region_name=settings.region,
        aws_access_key_id=settings.credentials.key_id, aws_secret_access_key=settings.credentials.secret,
        config=Config(
            s3={"addressing_style": "path"}, max_pool_connections=4 * BOTO3_LANES,
            request_checksum_calculation="when_required", response_checksum_validation="when_required",
        ),
    )  # fmt: skip
    config = TransferConfig(
        max_concurrency=4, multipart_threshold=128 * 2**20, preferred_transfer_client="classic"
    )
    names = _names(folder) if direction == "up" else list(json.loads(hashes.read_text()))

    def move(name: str) -> None:
        key = settings.prefix + name
        if direction == "up":
            client.upload_file(str(folder / name), settings.bucket, key, Config=config)
        else:
            client.download_file(settings.bucket, key, str(folder / name), Config=config)

    for parent in {(folder / name).parent for name in names}:
        parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(BOTO3_LANES) as threads:
        for _ in threads.map(move, names):
            pass


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    side, direction, folder, url, hashes = sys.argv[1:]
    {"ours": ours, "boto3": boto3}[side](direction, Path(folder), url, Path(hashes))
