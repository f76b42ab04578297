"""Where a bucket is and who may use it, read from the environment.

The names are Backblaze's (`B2_*`); those of the AWS tools stand in for what is not given. Free of torch.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ups.errors import ConfigError

BANDWIDTH = "UPS_BANDWIDTH"
"""Megabytes a second that all transfers of a store may take together."""

_HOST_REGION = re.compile(r"^s3[.-]([a-z0-9-]+)\.(?:backblazeb2|amazonaws)\.com$")
_ANY_REGION = "us-east-1"
"""What servers of their own accord expect in a signature where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key; its secret half never appears in a `repr`."""

    key_id: str
    secret: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a bucket, and how often to try again."""

    attempts: int = 8
    """Of one request, before it is given up."""
    longest_s: float = 20.0
    """Pause between two of them; it begins short, doubles each time, and has jitter."""
    total_s: float = 180.0
    """After which a request is not tried again."""
    connect_s: float = 10.0
    silence_s: float = 60.0
    """On a connection, after which it counts as stalled."""
    part_s: float = 1800.0
    """For one request to send its part over a slow line."""


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """A place in a bucket, and how to reach it."""

    bucket: str
    prefix: str
    """Empty, or ends with a slash."""
    endpoint: str
    region: str
    credentials: Credentials
    bytes_per_second: float | None = None
    """Cap on all transfers together."""
    patience: Patience = field(default_factory=Patience)

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`, without credentials."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def bucket_settings(url: str, environment: Mapping[str, str] | None = None) -> BucketSettings:
    """The settings for `s3://bucket/prefix`.

    Args:
        url: of the store.
        environment: where keys, endpoint and region are; the process's own by default.

    Raises:
        ConfigError: the URL is none, or something that the bucket needs is not set.
    """
    found = os.environ if environment is None else environment
    bucket, prefix = _place(url)
    credentials = _credentials(found)
    endpoint = _first(found, "B2_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    region = _first(found, "B2_S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
    if endpoint:
        endpoint = _checked_endpoint(endpoint)
    elif not region:
        raise ConfigError(
            f"nothing says where {url} is",
            hint="set B2_S3_ENDPOINT, for example to https://s3.us-west-004.backblazeb2.com",
        )
    elif found.get("B2_KEY_ID"):
        endpoint = f"https://s3.{region}.backblazeb2.com"
    else:
        endpoint = f"https://s3.{region}.amazonaws.com"
    return BucketSettings(
        bucket=bucket,
        prefix=prefix,
        endpoint=endpoint,
        region=region or _region_of(endpoint),
        credentials=credentials,
        bytes_per_second=_bandwidth(found.get(BANDWIDTH, "")),
    )


def _place(url: str) -> tuple[str, str]:
    """Bucket and prefix of a URL."""
    rest = url.removeprefix("s3:").lstrip("/")
    bucket, _, prefix = rest.partition("/")
    prefix = "/".join(part for part in prefix.split("/") if part)
    if not url.startswith("s3://") or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}", bucket):
        raise ConfigError(f"{url!r} names no bucket", hint="write s3://bucket or s3://bucket/prefix")
    if ".." in prefix.split("/"):
        raise ConfigError(f"{url!r} has a prefix that leads out of it", hint="write s3://bucket/prefix")
    return bucket, f"{prefix}/" if prefix else ""


def _credentials(found: Mapping[str, str]) -> Credentials:
    for key_id, secret, token in (
        ("B2_KEY_ID", "B2_APP_KEY", ""),
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    ):
        given = [name for name in (key_id, secret) if found.get(name)]
        if len(given) == 1:
            missing = secret if given == [key_id] else key_id
            raise ConfigError(f"{given[0]} is set, but {missing} is not", hint=f"set {missing} as well")
        if given:
            return Credentials(found[key_id].strip(), found[secret].strip(), found.get(token, ""))
    raise ConfigError(
        "there is no key for the bucket", hint="set B2_KEY_ID and B2_APP_KEY, in the environment or .env"
    )


def _checked_endpoint(endpoint: str) -> str:
    """The endpoint with its scheme; keys go over plain HTTP only where it says so."""
    whole = endpoint.strip().rstrip("/")
    if "://" not in whole:
        whole = f"https://{whole}"
    parts = urlsplit(whole)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.username:
        raise ConfigError(
            "the endpoint of the bucket is not an address of the form https://host",
            hint="set B2_S3_ENDPOINT, for example to https://s3.us-west-004.backblazeb2.com",
        )
    return whole


def _region_of(endpoint: str) -> str:
    match = _HOST_REGION.match(urlsplit(endpoint).hostname or "")
    return match.group(1) if match else _ANY_REGION


def _bandwidth(megabytes: str) -> float | None:
    if not megabytes.strip():
        return None
    try:
        number = float(megabytes)
    except ValueError:
        number = 0.0
    if not 0.0 < number < float("inf"):
        raise ConfigError(
            f"{BANDWIDTH}={megabytes!r} is not a number of megabytes a second", hint="write 12.5"
        )
    return number * 1e6


def _first(found: Mapping[str, str], *names: str) -> str:
    return next((found[name] for name in names if found.get(name)), "")
