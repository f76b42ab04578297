"""What a bucket's refusals and silences mean to its user.

Whichever library was told, it becomes a `Trouble`, and one table says what that means. Nothing of a request
(its signature, its key) enters a message. Free of torch.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ups.errors import NotFoundError, StoreError, UpsError
from ups.stores.s3_settings import BucketSettings, Patience

T = TypeVar("T")
_FIRST_PAUSE_S = 0.2
_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
_BUSY = frozenset(
    {"SlowDown", "ServiceUnavailable", "TooManyRequests", "TooManyRequestsException", "Throttling",
     "RequestLimitExceeded", "429", "503"}
)  # fmt: skip
_SKEWED = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_UNKNOWN_KEY = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed", "InvalidToken",
     "ExpiredToken", "401", "Unauthorized", "UnauthorizedAccess"}
)  # fmt: skip
_FORBIDDEN = frozenset({"AccessDenied", "Forbidden", "403", "AllAccessDisabled"})
_PAST_END = frozenset({"InvalidRange", "416", "RequestedRangeNotSatisfiable"})
_FULL = frozenset({"StorageCapExceeded", "QuotaExceeded", "EntityTooLarge"})


class PastEndError(StoreError):
    """Bytes were asked for that lie behind the end of an object."""


class CutError(StoreError):
    """A connection ended in the middle of something; another try may not."""


CUT = "the connection was cut"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong, as far as the libraries say."""

    code: str
    """The server's code, or the HTTP status where it gave none; empty where there was no answer."""
    detail: str
    """For messages, without anything secret."""
    unresolved: bool = False
    """The host's name is not known."""


def meaning(trouble: Trouble, settings: BucketSettings, action: str, key: str = "") -> UpsError:
    """The error for the user.

    Args:
        trouble: what happened.
        settings: of the bucket.
        action: what was tried: `read`, `write`, `list`, `delete`.
        key: of the object, where it was about one; an absent one is a NotFoundError.
    """
    code, url = trouble.code, settings.url
    what = f"{action} {url}/{key}" if key else f"{action} {url}"
    if code == "NoSuchBucket":
        return StoreError(
            f"there is no bucket {settings.bucket} at {settings.endpoint}",
            hint="check B2_BUCKET (or UPS_STORE), B2_S3_ENDPOINT and B2_S3_REGION; buckets are not made here",
        )
    if code in _ABSENT and key:
        return NotFoundError(f"{url} has no {key}")
    if code in _PAST_END:
        return PastEndError(f"{what}: the object ends before that ({trouble.detail})")
    if code in _SKEWED:
        return StoreError(
            f"the bucket refuses to {what}: this machine's clock is wrong ({trouble.detail})",
            hint="set the clock (timedatectl set-ntp true), then run the command again",
        )
    if code in _UNKNOWN_KEY:
        return StoreError(
            f"the bucket does not accept the key {_shown(settings)}: cannot {what} ({trouble.detail})",
            hint="check B2_KEY_ID, B2_APP_KEY and that B2_S3_ENDPOINT is of the key's own region",
        )
    if code in _FORBIDDEN:
        right = {"list": "listFiles", "read": "readFiles", "write": "writeFiles", "delete": "deleteFiles"}
        return StoreError(
            f"the key {_shown(settings)} may not {what} ({trouble.detail})",
            hint=f"give it the right {right.get(action, action)}, and a prefix that covers B2_PREFIX",
        )
    if code in _FULL:
        return StoreError(
            f"the bucket takes no more data: cannot {what} ({trouble.detail})",
            hint="raise the account's storage cap, or delete something",
        )
    if code in _BUSY:
        return StoreError(
            f"the bucket stayed too busy to {what} ({trouble.detail})", hint="run the command again later"
        )
    if not code:
        return _unreached(trouble, settings, what)
    return StoreError(f"the bucket failed to {what} ({trouble.detail})", hint="run the command again later")


def _unreached(trouble: Trouble, settings: BucketSettings, what: str) -> StoreError:
    if trouble.unresolved:
        return StoreError(
            f"there is no host of the name in {settings.endpoint}: cannot {what}",
            hint="check B2_S3_ENDPOINT for a typing error, and that this machine is online",
        )
    kind = CutError if trouble.detail == CUT else StoreError
    return kind(
        f"cannot {what} at {settings.endpoint}: {trouble.detail}",
        hint="check B2_S3_ENDPOINT and the network; what was transferred so far is kept",
    )


def cut_short(settings: BucketSettings, key: str, got: int, expected: int) -> StoreError:
    """A body that keeps ending before its length."""
    return CutError(
        f"{settings.url}/{key} keeps being cut short: {got:,} of {expected:,} bytes arrived",
        hint="run the command again; what was transferred so far is kept",
    )


def wrong_content(settings: BucketSettings, key: str) -> StoreError:
    """Bytes that do not have the hash they should."""
    return StoreError(
        f"{settings.url}/{key} does not have the sha256 that its manifest states",
        hint="it is damaged or being replaced; verify it, or store it again",
    )


def _shown(settings: BucketSettings) -> str:
    """Enough of the key's id to tell it from others."""
    return f"{settings.credentials.key_id[:4]}…"


def persistently(patience: Patience, call: Callable[[], T]) -> T:
    """Call again where a connection was cut, with growing pauses, until patience ends."""
    pause = min(_FIRST_PAUSE_S, patience.longest_s)
    for _ in range(patience.attempts - 1):
        try:
            return call()
        except CutError:
            time.sleep(random.uniform(0.5, 1.0) * pause)
            pause = min(2 * pause, patience.longest_s)
    return call()
