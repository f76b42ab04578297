"""A bucket on loopback that answers as Backblaze B2 does, where moto alone would be more generous.

It checks SigV4 signatures and the clock, refuses conditional writes and checksums that B2 does not know, and
has keys that see one prefix and have only some rights. `python -m tests.simulators.b2` serves it until its
standard input ends; `B2Server` is such a process.
"""

import hashlib
import hmac
import json
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, quote, unquote
from urllib.request import urlopen

from tests.patience import PATIENCE_S

REGION = "us-west-004"
RIGHTS = ("listFiles", "readFiles", "writeFiles", "deleteFiles")
_KEYS = "/_keys"
"""Where a test says which keys there are; no bucket may have such a name."""
_SKEW_S = 900.0
_CREDENTIAL = re.compile(
    r"^AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?"
    r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$"
)
Start = Callable[..., Any]
App = Callable[[dict[str, Any], Start], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Key:
    """An application key."""

    key_id: str
    secret: str
    bucket: str
    prefix: str = ""
    rights: tuple[str, ...] = RIGHTS


class RefusedError(Exception):
    """A request that is not carried out."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Strict:
    """A WSGI application before moto's that refuses what B2 refuses."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._keys: dict[str, Key] = {}

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        if environ["PATH_INFO"] == _KEYS:
            self._learn(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            start("200 OK", [("Content-Length", "0")])
            return [b""]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        try:
            headers = _headers(environ)
            key = self._signed_by(environ, headers)
            _refuse_unknown(environ["REQUEST_METHOD"], headers)
            _authorise(key, environ, headers, body)
        except RefusedError as refused:
            return _refusal(refused, environ["REQUEST_METHOD"], start)
        return self._app(environ, start)

    def _learn(self, content: bytes) -> None:
        for entry in json.loads(content):
            self._keys[entry["key_id"]] = Key(**{**entry, "rights": tuple(entry["rights"])})

    def _signed_by(self, environ: Mapping[str, Any], headers: Mapping[str, str]) -> Key:
        match = _CREDENTIAL.match(headers.get("authorization", ""))
        if match is None:
            raise RefusedError(403, "AccessDenied", "the request is not signed")
        key_id, day, region, names, signature = match.groups()
        key = self._keys.get(key_id)
        if key is None:
            raise RefusedError(403, "InvalidAccessKeyId", f"The key '{key_id}' is not valid")
        moment = headers.get("x-amz-date", "")
        _refuse_skew(moment)
        scope = f"{day}/{region}/s3/aws4_request"
        request = _canonical(environ, headers, names)
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        secret = f"AWS4{key.secret}".encode()
        for step in (day, region, "s3", "aws4_request"):
            secret = hmac.digest(secret, step.encode(), "sha256")
        if region != REGION or hmac.digest(secret, text.encode(), "sha256").hex() != signature:
            raise RefusedError(403, "SignatureDoesNotMatch", "Signature validation failed")
        return key


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    found = {
        name[5:].replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            found[name.replace("_", "-").lower()] = str(environ[name])
    return found


def _refuse_skew(moment: str) -> None:
    try:
        sent = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise RefusedError(403, "AccessDenied", "the request has no date") from None
    if abs(sent - time.time()) > _SKEW_S:
        raise RefusedError(403, "RequestTimeTooSkewed", "The time of the request is too far from ours")


def _canonical(environ: Mapping[str, Any], headers: Mapping[str, str], names: str) -> str:
    path, _, query = str(environ["REQUEST_URI"]).partition("?")
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(query, keep_blank_values=True)
    )
    lines = [
        str(environ["REQUEST_METHOD"]),
        quote(unquote(path), safe="/-_.~"),
        "&".join(f"{name}={value}" for name, value in pairs),
        *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in names.split(";")),
        "",
        names,
        headers.get("x-amz-content-sha256", ""),
    ]
    return "\n".join(lines)


def _refuse_unknown(method: str, headers: Mapping[str, str]) -> None:
    if method in {"PUT", "POST"} and {"if-match", "if-none-match"} & headers.keys():
        raise RefusedError(
            501, "NotImplemented", "A header you provided implies functionality not implemented"
        )
    for name in headers:
        if name.startswith(("x-amz-checksum-", "x-amz-sdk-checksum", "x-amz-trailer")):
            raise RefusedError(
                400, "InvalidArgument", f"Unsupported header '{name}' received for this API call"
            )


def _authorise(key: Key, environ: Mapping[str, Any], headers: Mapping[str, str], body: bytes) -> None:
    """Raises RefusedError where the key may not do it."""
    method = str(environ["REQUEST_METHOD"])
    path, _, query = str(environ["REQUEST_URI"]).partition("?")
    bucket, _, name = unquote(path).lstrip("/").partition("/")
    asked = dict(parse_qsl(query, keep_blank_values=True))
    if bucket != key.bucket:
        raise _denied()
    right, names = _needed(method, name, asked, body)
    if right not in key.rights or any(not touched.startswith(key.prefix) for touched in names):
        raise _denied()
    source = unquote(headers.get("x-amz-copy-source", "")).lstrip("/")
    if source and not source.startswith(f"{key.bucket}/{key.prefix}"):
        raise _denied()


def _needed(method: str, name: str, asked: Mapping[str, str], body: bytes) -> tuple[str, list[str]]:
    """The right that a request needs, and the names that it touches."""
    if name:
        rights = {"GET": "readFiles", "HEAD": "readFiles", "DELETE": "deleteFiles"}
        return ("writeFiles" if "uploadId" in asked else rights.get(method, "writeFiles")), [name]
    if method == "GET":
        return "listFiles", [asked.get("prefix", "")]
    if method == "POST" and "delete" in asked:
        return "deleteFiles", [unquote(found) for found in re.findall(r"<Key>([^<]*)</Key>", body.decode())]
    return "", []  # HEAD of the bucket, making and removing it


def _denied() -> RefusedError:
    return RefusedError(403, "AccessDenied", "not entitled")


def _refusal(refused: RefusedError, method: str, start: Start) -> Iterable[bytes]:
    content = (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
        f"<Error><Code>{refused.code}</Code><Message>{refused}</Message></Error>"
    ).encode()
    line = f"{refused.status} {HTTPStatus(refused.status).phrase}"
    start(line, [("Content-Type", "application/xml"), ("Content-Length", str(len(content)))])
    return [b"" if method == "HEAD" else content]


class B2Server:
    """The simulator as a process of its own, at `url`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def new_bucket(self) -> str:
        """A bucket of its own for a test."""
        return f"bucket-{uuid.uuid4().hex[:12]}"

    def new_key(self, bucket: str, *, prefix: str = "", rights: Iterable[str] = RIGHTS) -> Key:
        """A key to a bucket, which is made where there is none."""
        key = Key(f"004{uuid.uuid4().hex[:16]}", f"K004{uuid.uuid4().hex}", bucket, prefix, tuple(rights))
        entry = {
            "key_id": key.key_id, "secret": key.secret, "bucket": bucket, "prefix": prefix,
            "rights": list(key.rights),
        }  # fmt: skip
        with urlopen(f"{self.url}{_KEYS}", data=json.dumps([entry]).encode()) as answer:
            answer.read()
        return key

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=PATIENCE_S)
        self._process.stdout.close()


def main() -> None:
    """Serve on a free port, whose number is printed, until standard input ends."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from moto.s3.models import s3_backends
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    class WithBuckets(Strict):
        def _learn(self, content: bytes) -> None:
            super()._learn(content)
            backend = s3_backends["123456789012"]["aws"]
            for entry in json.loads(content):
                if entry["bucket"] not in backend.buckets:
                    backend.create_bucket(entry["bucket"], REGION)

    moto = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, WithBuckets(moto), threaded=True, request_handler=Quiet)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main()
