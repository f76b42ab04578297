"""Bytes of a file on an HTTP server, whatever happens on the way: cut connections, stalls, busy servers.

What is asked for comes in order and once: after a failure the next request begins behind the last byte
that arrived. A file that changes between two requests is noticed and never mixed. Free of torch.
"""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import httpx

from ups.errors import DownloadError, NotFoundError

_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that another try may change."""
_AGENT = "ups-console"
_NEVER = threading.Event()
"""Is never set."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, and how often to try again."""

    attempts: int = 8
    """Failures in a row, without a byte between them, after which it is given up."""
    first_attempts: int = 4
    """The same of the first contact, which may fail because the address is wrong."""
    first_s: float = 0.5
    """Pause after the first failure; each further one doubles it."""
    longest_s: float = 60.0
    asked_s: float = 600.0
    """Longest pause that a server's `Retry-After` is granted."""
    timeout_s: float = 30.0
    """Silence on a connection after which it counts as stalled."""

    def pause(self, failures: int, asked: float | None) -> float:
        """Seconds to wait after so many failures; jitter keeps several clients from coming back as one."""
        if asked is not None:
            return min(asked, self.asked_s)
        longest = min(self.longest_s, self.first_s * 2.0 ** (failures - 1))
        return random.uniform(0.5, 1.0) * longest


class ChangedError(Exception):
    """The file on the server is another one than that whose reading was begun."""


class NoRangesError(Exception):
    """The server sends whole files where parts are asked for."""


class StoppedError(Exception):
    """Somebody asked to stop."""


class _BusyError(Exception):
    def __init__(self, message: str, asked: float | None = None) -> None:
        super().__init__(message)
        self.asked = asked
        """Seconds that the server wants us to wait."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server says of a file."""

    bytes: int
    version: str
    """Its ETag or its date: two answers of one version are of the same bytes. Empty where none is given."""
    ranges: bool
    """Parts of it can be asked for."""


def client_of(patience: Patience, *, connections: int = 4) -> httpx.Client:
    """A client for that many simultaneous requests; close it."""
    return httpx.Client(
        follow_redirects=True,  # DaRUS sends readers on to its object store
        timeout=httpx.Timeout(patience.timeout_s, pool=None),
        limits=httpx.Limits(max_connections=connections + 1, max_keepalive_connections=connections + 1),
        headers={"User-Agent": _AGENT, "Accept-Encoding": "identity"},  # ranges are of the file as it is
    )


@dataclass(frozen=True, slots=True)
class RemoteBytes:
    """One file on a server, asked for in ranges. May be read by several threads."""

    url: str
    name: str
    """How messages call it."""
    client: httpx.Client
    patience: Patience = field(default_factory=Patience)

    def facts(self) -> Facts:
        """Ask what the server has; only the headers are read.

        Raises:
            NotFoundError, DownloadError: as `chunks`.
        """
        failures = 0
        while True:
            try:
                # Not HEAD: an object store signs the address it sends us on to for GET alone.
                with self._answer({"Range": "bytes=0-0"}) as answer:
                    return self._facts(answer)
            except (httpx.TransportError, _BusyError) as error:
                failures += 1
                self._rest(failures, error, _NEVER, attempts=self.patience.first_attempts)

    def chunks(
        self, begin: int, end: int, facts: Facts, stop: threading.Event | None = None
    ) -> Iterator[bytes]:
        """The bytes from `begin` to before `end`, in pieces as they arrive.

        Args:
            begin: first byte.
            end: behind the last byte.
            facts: of the file when its reading began.
            stop: set by whoever wants the reading to end, also while it waits for another try.

        Raises:
            NotFoundError: the server has no such file.
            DownloadError: it refuses, or could not be reached in as many attempts as patience allows.
            ChangedError, NoRangesError, StoppedError: what they say.
        """
        stop = stop or _NEVER
        failures = 0
        while begin < end:
            try:
                for chunk in self._once(begin, end, facts):
                    failures = 0
                    begin += len(chunk)
                    yield chunk
                    if stop.is_set():
                        raise StoppedError
                if begin < end:
                    raise _BusyError("the answer ended too early")
            except (httpx.TransportError, _BusyError) as error:
                failures += 1
                self._rest(failures, error, stop)

    def whole(self, facts: Facts) -> Iterator[tuple[int, bytes]]:
        """All bytes in one answer, each piece with where it belongs: after a failure from the beginning.

        Raises:
            NotFoundError, DownloadError, ChangedError: as `chunks`.
        """
        failures = 0
        while True:
            try:
                done = 0
                with self._answer({}) as answer:
                    if self._facts(answer).version != facts.version:
                        raise ChangedError
                    for chunk in answer.iter_raw():
                        yield done, chunk
                        done += len(chunk)
                if done == facts.bytes:
                    return
                raise _BusyError("the answer ended too early")
            except (httpx.TransportError, _BusyError) as error:
                failures += 1
                self._rest(failures, error, _NEVER)

    def _once(self, begin: int, end: int, facts: Facts) -> Iterator[bytes]:
        with self._answer({"Range": f"bytes={begin}-{end - 1}"}) as answer:
            if answer.status_code != 206:
                raise NoRangesError
            now = self._facts(answer)
            if (now.bytes, now.version) != (facts.bytes, facts.version):
                raise ChangedError
            left = end - begin
            for chunk in answer.iter_raw():
                yield chunk[:left]
                left -= len(chunk)
                if left <= 0:
                    return

    @contextmanager
    def _answer(self, headers: dict[str, str]) -> Iterator[httpx.Response]:
        with self.client.stream("GET", self.url, headers=headers) as answer:
            code = answer.status_code
            if code in (404, 410):
                raise NotFoundError(f"the server has no {self.name}: {self.url} answers {code}")
            if code in _BUSY:
                raise _BusyError(f"the server answers {code}", _retry_after(answer))
            if code not in (200, 206):
                raise DownloadError(
                    f"the server does not hand out {self.name}: {self.url} answers {code}",
                    hint="open the address in a browser: it may ask for a login or be down",
                )
            yield answer

    def _facts(self, answer: httpx.Response) -> Facts:
        version = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        ranges = answer.status_code == 206
        stated = answer.headers.get("Content-Range", "").rpartition("/")[2] if ranges else ""
        size = stated or answer.headers.get("Content-Length", "")
        if not size.isdigit():
            raise DownloadError(f"the server does not say how large {self.name} is: {self.url}")
        return Facts(int(size), version, ranges)

    def _rest(
        self,
        failures: int,
        error: httpx.TransportError | _BusyError,
        stop: threading.Event,
        attempts: int | None = None,
    ) -> None:
        """Wait before the next try; raises DownloadError where there is to be none."""
        said = str(error) or type(error).__name__
        if failures >= (attempts or self.patience.attempts):
            raise DownloadError(
                f"{self.name} cannot be fetched: {said} ({failures} attempts at {self.url})",
                hint="what has arrived is kept: run the command again to go on",
            ) from None
        asked = error.asked if isinstance(error, _BusyError) else None
        if stop.wait(self.patience.pause(failures, asked)):
            raise StoppedError


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds that the server asks us to wait; it may say them, or a date."""
    said = answer.headers.get("Retry-After", "").strip()
    if said.isdigit():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None
