"""Moves the content of objects through obstore, which takes half the processor time of boto3.

It is told everything: no environment variable of the AWS tools changes whom it speaks to. May be shared
between threads. Free of torch.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store as ObstoreBucket

from ups.errors import StoreError, UpsError
from ups.stores.s3_errors import CUT, Trouble, meaning, persistently
from ups.stores.s3_settings import BucketSettings

if TYPE_CHECKING:  # these exist for the type checker alone
    from obstore import GetResult
    from obstore.store import ClientConfig, S3Credential

STREAMED = 512 * 1024
"""Bytes of an answer that are handed on at a time."""
_FIRST_PAUSE = timedelta(milliseconds=200)
_ERRORS = (FileNotFoundError, BaseError)
"""What obstore raises."""
_NOT_PARTIAL = "NotPartial"
"""In the text of its error where a server answered a request for a range as if it were one for everything."""
_CODE = re.compile(r"<Code>\s*([A-Za-z0-9.]+)\s*</Code>")
_STATUS = re.compile(r"(?:status code|status)\D{0,3}(\d{3})\b")
_UNRESOLVED = re.compile(r"dns error|Name or service not known|failed to lookup")
_REASONS = (
    (re.compile(r"timed out|TimedOut"), "it does not answer"),
    (re.compile(r"tcp connect error|Connection refused|kind: Connect"), "it cannot be reached"),
    (re.compile(r"certificate"), "its certificate is not accepted"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """An object, or the beginning of what was asked of it."""

    size: int
    """Bytes of the whole object."""
    etag: str
    chunks: Iterator[bytes]
    whole: Callable[[], memoryview]
    """All of it at once, instead of `chunks`."""


class Bulk:
    """Content of objects; keys are relative to the store's prefix."""

    def __init__(self, settings: BucketSettings, ranges: Callable[[str, int, int], Answer]) -> None:
        """Args:
        settings: of the bucket.
        ranges: reads a range from servers whose answer obstore does not take.
        """
        self._settings, self._ranges = settings, ranges
        patience = settings.patience
        # While a body is sent nothing arrives, so silence says something only about what is read.
        self._reader = _obstore(settings, timedelta(seconds=patience.silence_s))
        self._writer = _obstore(settings, None)

    def _key(self, key: str) -> str:
        return self._settings.prefix + key

    def put(self, key: str, content: bytes | memoryview) -> str:
        """Store an object with one request; its ETag."""

        def sent() -> str:
            try:
                answer = obstore.put(self._writer, self._key(key), content, use_multipart=False)
            except _ERRORS as error:
                raise self._meaning(error, "write", key) from None
            return (answer["e_tag"] or "").strip('"')

        return persistently(self._settings.patience, sent)

    def get(self, key: str) -> Answer:
        """Ask for an object; raises NotFoundError, StoreError."""
        try:
            return self._answer(key, obstore.get(self._reader, self._key(key)))
        except _ERRORS as error:
            raise self._meaning(error, "read", key) from None

    def get_range(self, key: str, start: int, end: int) -> Answer:
        """Ask for bytes [start, end) of it; raises NotFoundError, PastEndError, StoreError."""
        try:
            answer = obstore.get(self._reader, self._key(key), options={"range": (start, end)})
            return self._answer(key, answer)
        except _ERRORS as error:
            if _NOT_PARTIAL in str(error):
                return self._ranges(key, start, end)
            raise self._meaning(error, "read", key) from None

    def _answer(self, key: str, answer: "GetResult") -> Answer:
        meta = answer.meta
        return Answer(
            size=int(meta["size"]),
            etag=(meta["e_tag"] or "").strip('"'),
            chunks=self._chunks(key, answer),
            whole=partial(self._whole, key, answer),
        )

    def _chunks(self, key: str, answer: "GetResult") -> Iterator[bytes]:
        try:
            yield from answer.stream(STREAMED)
        except _ERRORS as error:
            raise self._meaning(error, "read", key) from None

    def _whole(self, key: str, answer: "GetResult") -> memoryview:
        try:
            return memoryview(answer.bytes())
        except _ERRORS as error:
            raise self._meaning(error, "read", key) from None

    def _meaning(self, error: Exception, action: str, key: str) -> UpsError:
        """The user's error for one of obstore's, whose text holds what the server answered."""
        if isinstance(error, FileNotFoundError):
            said = _CODE.search(str(error))
            trouble = Trouble(said.group(1) if said else "NoSuchKey", "not found")
        else:
            trouble = _trouble(str(error))
        return meaning(trouble, self._settings, action, key)


def _trouble(text: str) -> Trouble:
    if said := _CODE.search(text):
        return Trouble(said.group(1), said.group(1))
    if answered := _STATUS.search(text):
        return Trouble(answered.group(1), f"HTTP {answered.group(1)}")
    detail = next((reason for sign, reason in _REASONS if sign.search(text)), CUT)
    return Trouble("", detail, unresolved=bool(_UNRESOLVED.search(text)))


def _obstore(settings: BucketSettings, silence: timedelta | None) -> ObstoreBucket:
    patience, credentials = settings.patience, settings.credentials
    options: ClientConfig = {
        "allow_http": settings.endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=patience.connect_s),
        "timeout": timedelta(seconds=patience.part_s),
    }
    if silence is not None:
        options["read_timeout"] = silence

    def given() -> "S3Credential":
        return {
            "access_key_id": credentials.key_id,
            "secret_access_key": credentials.secret,
            "token": credentials.session_token or None,
            "expires_at": None,
        }

    try:
        return ObstoreBucket(
            settings.bucket,
            config={
                "endpoint": settings.endpoint,
                "region": settings.region,
                "virtual_hosted_style_request": False,
                "unsigned_payload": True,  # the connection protects it; hashing it twice costs processor time
                "skip_signature": False,
            },
            client_options=options,
            retry_config={
                "max_retries": patience.attempts - 1,
                "retry_timeout": timedelta(seconds=patience.total_s),
                "backoff": {
                    "init_backoff": min(_FIRST_PAUSE, timedelta(seconds=patience.longest_s)),
                    "max_backoff": timedelta(seconds=patience.longest_s),
                    "base": 2,
                },
            },
            # Not by `config`: a session token in the environment would be sent with it.
            credential_provider=given,
        )
    except (ValueError, obstore.exceptions.BaseError):
        raise StoreError(
            f"the settings of {settings.url} are not accepted", hint="check B2_S3_ENDPOINT and B2_S3_REGION"
        ) from None
