"""Vast.ai's SDK, imported late and with care, and its failures told apart.

The SDK asks its standard output for an encoding while it is imported, which an output that a user
interface has captured does not have. It takes half a second: it is imported at the first call, which
is made from a worker thread. Nothing of it but `vastai.api` is used.
"""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from console.errors import LoginError, ProviderError

TIMEOUT_S = 15.0
"""Seconds for a connection, and between two bytes of an answer."""
_DAILY_QUOTA = "search_quota_exceeded"
"""A 429 that lasts until midnight."""
_WORDS = 300
"""Characters of an answer that an error quotes."""

T = TypeVar("T")

_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Sdk:
    """The modules of `vastai.api` that are used, and requests beneath them."""

    client: Any
    billing: Any
    instances: Any
    keys: Any
    offers: Any
    storage: Any
    requests: Any


class AnswerError(Exception):
    """A call that did not end in a usable answer."""

    def __init__(self, words: str, *, status: int | None, code: str = "", sent: bool = True) -> None:
        super().__init__(words)
        self.words = words
        """For people: what the server or the network says."""
        self.status = status
        """HTTP status; None where no answer, or half of one, arrived."""
        self.code = code
        """The server's own name for the failure."""
        self.sent = sent
        """Whether the server may have acted: False where no connection came about."""

    @property
    def passing(self) -> bool:
        """Whether it may go away by itself: too many requests, a fault of the server or of the network."""
        if self.code == _DAILY_QUOTA:
            return False
        return self.status is None or self.status == 429 or self.status >= 500


def load() -> Sdk:
    """The SDK.

    Raises:
        ProviderError: it is not installed.
    """
    with _lock, _decent_output():
        try:
            import requests
            from vastai.api import billing, client, instances, keys, offers, storage
        except ImportError as error:
            raise ProviderError(
                f"Vast.ai's SDK cannot be imported: {error}", hint="pip install 'ups-console[vast]'"
            ) from error
        logger = logging.getLogger("vastai")
        logger.handlers[:] = [logging.NullHandler()]  # it would write into the screen
        return Sdk(client, billing, instances, keys, offers, storage, requests)


class _Encoded:
    """An output stream that has an encoding, and is otherwise the one that it stands for."""

    encoding = "utf-8"

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        return False


@contextmanager
def _decent_output() -> Iterator[None]:
    """Standard output has an encoding within; what is printed meanwhile goes where it went before."""
    before = sys.stdout
    if isinstance(getattr(before, "encoding", None), str):
        yield
        return
    stand_in: Any = _Encoded(before)
    sys.stdout = stand_in
    try:
        yield
    finally:
        if sys.stdout is stand_in:  # a user interface that ended meanwhile has put its own back
            sys.stdout = before


def make_client(sdk: Sdk, api_key: str, url: str) -> Any:
    """A `VastClient` that sends every request once, and with this key whatever `~/.netrc` says.

    Raises:
        LoginError: the key cannot be one.
    """
    if not api_key or not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
        raise LoginError(
            "the key for Vast.ai is empty, or has characters that no key has",
            hint="copy it again from https://cloud.vast.ai/manage-keys/ into VAST_API_KEY",
        )

    class Client(sdk.client.VastClient):  # type: ignore[misc, name-defined]
        def _request(
            self, method: str, url: str, headers: dict[str, str], json_data: Any = None,
            timeout: float | None = None,
        ) -> Any:  # fmt: skip
            with sdk.client.VastSession(self.server_url) as session:
                # A session with a way to authenticate asks no ~/.netrc; this one leaves the header alone.
                session.auth = _as_it_is
                request = sdk.requests.Request(method=method, url=url, headers=headers, json=json_data)
                return session.send(session.prepare_request(request), timeout=timeout or self.timeout)

    return Client(api_key=api_key, server_url=url.rstrip("/"), retry=1, timeout=TIMEOUT_S)


def _as_it_is(request: T) -> T:
    return request


def call(sdk: Sdk, function: Callable[..., T], *arguments: Any, secret: str, **options: Any) -> T:
    """What a function of the SDK returns.

    Raises:
        AnswerError: no answer came, or one that is a refusal or makes no sense; it never quotes `secret`.
    """
    errors = sdk.requests.exceptions
    try:
        return function(*arguments, **options)
    except errors.HTTPError as error:
        status = error.response.status_code if error.response is not None else None
        code, words = _of_body(error.response)
        raise AnswerError(_clean(words or f"HTTP {status}", secret), status=status, code=code) from None
    except errors.JSONDecodeError:
        raise AnswerError("the answer is no JSON", status=200, code="malformed") from None
    except errors.RequestException as error:
        words = _clean(_reason(errors, error), secret)
        raise AnswerError(words, status=None, sent=not _unconnected(errors, error)) from None
    except TimeoutError as error:
        raise AnswerError(_clean(str(error), secret), status=None) from None
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        words = f"the answer has an unknown shape ({type(error).__name__}: {error})"
        raise AnswerError(_clean(words, secret), status=200, code="malformed") from None


def _of_body(response: Any) -> tuple[str, str]:
    """The server's name for a failure, and its words."""
    try:
        body = response.json()
    except (ValueError, AttributeError):
        text = getattr(response, "text", "") or ""
        return "", "" if "<html" in text.lower() else text.strip()
    if not isinstance(body, dict):
        return "", str(body)
    code = str(body.get("error") or "")
    return code, str(body.get("msg") or body.get("message") or code)


def _reason(errors: Any, error: Exception) -> str:
    if isinstance(error, errors.Timeout):
        return f"no answer within {TIMEOUT_S:.0f} s"
    if isinstance(error, errors.ChunkedEncodingError):
        return "the answer was cut"
    if isinstance(error, _unsendable(errors)):
        return str(error)
    if _unconnected(errors, error):
        return "no connection"
    return f"the connection broke ({type(error).__name__})"


def _unconnected(errors: Any, error: Exception) -> bool:
    """Whether the request never left: nothing can have come of it."""
    from urllib3.exceptions import NewConnectionError

    if isinstance(error, (errors.ConnectTimeout, *_unsendable(errors))):
        return True
    cause = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(cause, NewConnectionError)


def _unsendable(errors: Any) -> tuple[type[Exception], ...]:
    """What a URL or a header brings about that is none."""
    return errors.InvalidURL, errors.MissingSchema, errors.InvalidSchema, errors.InvalidHeader


def _clean(words: str, secret: str) -> str:
    line = " ".join(words.split())
    if secret:
        line = line.replace(secret, "•••")
    return line[:_WORDS]
