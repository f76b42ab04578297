"""Requests about objects through boto3: list, ask, copy, delete, and the books of multipart uploads.

It is told everything: neither a profile nor another environment variable of the AWS tools changes whom it
speaks to. May be shared between threads. Free of torch.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import botocore.session
from boto3.s3.transfer import TransferConfig
from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)

from ups.errors import NotFoundError, StoreError
from ups.store import ObjectInfo
from ups.stores.s3_bulk import STREAMED, Answer
from ups.stores.s3_errors import CUT, Trouble, meaning
from ups.stores.s3_settings import BucketSettings

_AT_ONCE = 1000
"""Objects that one request deletes."""
_WORTH_LISTING = 8
"""Objects of one folder that are rather listed than asked for one by one."""
_COPY_WHOLE = 5 * 1000**3
"""Bytes above which a copy within the bucket has to be made in parts."""
_COPY_PART = 512 * 1024 * 1024
_PLACED = re.compile(r"bytes (\d+)-\d+/(\d+)$")
_UNRESOLVED = re.compile(r"Name or service not known|failed to lookup|getaddrinfo|NameResolution")
_REASONS = (
    (ConnectTimeoutError, "it does not answer"),
    (ReadTimeoutError, "it does not answer"),
    (SSLError, "its certificate is not accepted"),
    (EndpointConnectionError, "it cannot be reached"),
)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a multipart upload that the bucket has."""

    number: int
    etag: str
    bytes: int


class Control:
    """Requests about objects; keys are relative to the store's prefix."""

    def __init__(self, settings: BucketSettings, *, connections: int) -> None:
        self._settings = settings
        self._client = _client(settings, connections)
        self._at = {"Bucket": settings.bucket}

    def _key(self, key: str) -> str:
        return self._settings.prefix + key

    def objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """All objects whose key begins so, in order, a thousand a request."""
        before = len(self._settings.prefix)
        pages = self._client.get_paginator("list_objects_v2").paginate(**self._at, Prefix=self._key(prefix))
        with _explained(self._settings, "list"):
            for page in pages:
                for found in page.get("Contents", ()):
                    yield ObjectInfo(
                        key=found["Key"][before:],
                        bytes=int(found["Size"]),
                        modified=_seconds(found["LastModified"]),
                        etag=str(found.get("ETag", "")).strip('"'),
                    )

    def find(self, key: str) -> ObjectInfo | None:
        """An object, or None."""
        try:
            with _explained(self._settings, "read", key):
                found = self._client.head_object(**self._at, Key=self._key(key))
        except NotFoundError:
            return None
        return ObjectInfo(
            key, int(found["ContentLength"]), _seconds(found["LastModified"]), str(found["ETag"]).strip('"')
        )

    def find_all(self, keys: Sequence[str]) -> dict[str, ObjectInfo]:
        """Those of the keys that there are; of many in one folder by listing it."""
        folders: dict[str, set[str]] = {}
        for key in keys:
            folders.setdefault(key[: key.rfind("/") + 1], set()).add(key)
        found: dict[str, ObjectInfo] = {}
        for folder, wanted in folders.items():
            if len(wanted) < _WORTH_LISTING:
                infos: Iterable[ObjectInfo | None] = map(self.find, wanted)
            else:
                infos = self.objects(folder)
            found.update({info.key: info for info in infos if info is not None and info.key in wanted})
        return found

    def copy(self, key: str, new_key: str) -> None:
        """Copy an object within the bucket, in parts where it is too large for one request."""
        whole = TransferConfig(
            multipart_threshold=_COPY_WHOLE,
            multipart_chunksize=_COPY_PART,
            preferred_transfer_client="classic",  # the other one ignores the endpoint
        )
        source = {**self._at, "Key": self._key(key)}
        with _explained(self._settings, "write", key):
            self._client.copy(source, self._settings.bucket, self._key(new_key), Config=whole)

    def delete(self, key: str) -> None:
        """Remove an object; none is fine."""
        with suppress(NotFoundError), _explained(self._settings, "delete", key):
            self._client.delete_object(**self._at, Key=self._key(key))

    def delete_all(self, keys: Sequence[str]) -> None:
        """Remove many."""
        for first in range(0, len(keys), _AT_ONCE):
            wanted = [{"Key": self._key(key)} for key in keys[first : first + _AT_ONCE]]
            with _explained(self._settings, "delete"):
                answer = self._client.delete_objects(**self._at, Delete={"Objects": wanted, "Quiet": True})
            if kept := [entry for entry in answer.get("Errors", ()) if entry.get("Code") != "NoSuchKey"]:
                with _explained(self._settings, "delete", str(kept[0].get("Key", ""))):
                    raise ClientError({"Error": {"Code": kept[0].get("Code", "")}}, "DeleteObjects")

    def get_range(self, key: str, start: int, end: int) -> Answer:
        """Bytes [start, end) of an object from a server that sends them as if they were the whole."""
        with _explained(self._settings, "read", key):
            answer = self._client.get_object(**self._at, Key=self._key(key), Range=f"bytes={start}-{end - 1}")
        placed = _PLACED.match(answer.get("ContentRange", ""))
        if placed is None or int(placed.group(1)) != start:
            raise StoreError(
                f"{self._settings.endpoint} does not send parts of objects", hint="use another S3 server"
            )
        chunks = self._streamed(key, answer["Body"])
        return Answer(
            int(placed.group(2)), answer["ETag"].strip('"'), chunks, lambda: memoryview(b"".join(chunks))
        )

    def _streamed(self, key: str, body: Any) -> Iterator[bytes]:
        with _explained(self._settings, "read", key):
            yield from body.iter_chunks(STREAMED)

    def begin_parts(self, key: str) -> str:
        """The id of a new multipart upload."""
        with _explained(self._settings, "write", key):
            answer = self._client.create_multipart_upload(**self._at, Key=self._key(key))
        return str(answer["UploadId"])

    def put_part(self, key: str, upload: str, number: int, content: bytes) -> str:
        """Send a part; its ETag."""
        with _explained(self._settings, "write", key):
            answer = self._client.upload_part(
                **self._at, Key=self._key(key), UploadId=upload, PartNumber=number, Body=content
            )
        return str(answer["ETag"])

    def parts(self, key: str, upload: str) -> list[Part] | None:
        """The parts that have arrived; None where there is no such upload any more."""
        pages = self._client.get_paginator("list_parts").paginate(
            **self._at, Key=self._key(key), UploadId=upload
        )
        try:
            return [
                Part(int(part["PartNumber"]), str(part["ETag"]), int(part["Size"]))
                for page in pages
                for part in page.get("Parts", ())
            ]
        except ClientError as error:
            if _trouble(error).code in {"NoSuchUpload", "NoSuchKey", "404"}:
                return None
            with _explained(self._settings, "write", key):
                raise

    def finish_parts(self, key: str, upload: str, etags: Mapping[int, str]) -> str:
        """Make the object of its parts, which is when it appears; its ETag."""
        parts = [{"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)]
        with _explained(self._settings, "write", key):
            answer = self._client.complete_multipart_upload(
                **self._at, Key=self._key(key), UploadId=upload, MultipartUpload={"Parts": parts}
            )
        return str(answer.get("ETag", "")).strip('"')

    def abort_parts(self, key: str, upload: str) -> None:
        """Give an upload up, and what was stored for it; none is fine."""
        with suppress(ClientError):
            self._client.abort_multipart_upload(**self._at, Key=self._key(key), UploadId=upload)


@contextmanager
def _explained(settings: BucketSettings, action: str, key: str = "") -> Iterator[None]:
    """Turn boto3's errors into the user's."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise meaning(_trouble(error), settings, action, key) from None


def _trouble(error: ClientError | BotoCoreError) -> Trouble:
    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
        return Trouble(code or status, code or f"HTTP {status}")
    detail = next((reason for kind, reason in _REASONS if isinstance(error, kind)), CUT)
    cause = f"{error} {error.kwargs.get('error', '')}"
    return Trouble("", detail, unresolved=bool(_UNRESOLVED.search(cause)))


def _client(settings: BucketSettings, connections: int) -> Any:
    patience, credentials = settings.patience, settings.credentials
    core = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
    client = Session(
        aws_access_key_id=credentials.key_id,
        aws_secret_access_key=credentials.secret,
        aws_session_token=credentials.session_token or None,
        region_name=settings.region,
        botocore_session=core,
    ).client(
        "s3",
        endpoint_url=settings.endpoint,
        config=Config(
            s3={"addressing_style": "path"},
            signature_version="s3v4",
            request_checksum_calculation="when_required",  # B2 refuses checksums that it does not know
            response_checksum_validation="when_required",
            retries={"mode": "standard", "total_max_attempts": patience.attempts},
            connect_timeout=patience.connect_s,
            read_timeout=patience.silence_s,
            max_pool_connections=connections,
        ),
    )
    client.meta.events.register("before-sign.s3.DeleteObjects", _with_md5)
    return client


def _with_md5(request: Any, **_: object) -> None:
    """Deleting many needs a checksum; the one that every server knows."""
    for name in [name for name in request.headers if name.lower().startswith("x-amz-checksum-")]:
        del request.headers[name]
    del request.headers["x-amz-sdk-checksum-algorithm"]
    body = request.body if isinstance(request.body, bytes) else str(request.body).encode()
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    request.headers["Content-MD5"] = base64.b64encode(digest).decode()


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
