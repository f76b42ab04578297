"""Vultr's REST API, version 2: requests with time-outs and patience, lists complete or not at all.

Nothing here knows an instance's life. An answer that never came is told from a request that was never
sent, because only the first may have rented something.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator

from console.errors import LoginError, ProviderError
from console.fleet.pacing import Pacer

if TYPE_CHECKING:
    import ssl

    import httpx

URL = "https://api.vultr.com/v2"
_PAGE = 500
"""The most rows that Vultr gives at once."""
_CONNECT_TIMEOUT_S = 10.0
_READS = 3
_ASKED_TOO_OFTEN = 7
"""Tries of a request that is answered with 429."""


class UnsentError(ProviderError):
    """Vultr could not be reached: it never saw the request."""


class UnansweredError(ProviderError):
    """The request was sent, its answer never came: it may have been carried out."""


class _IncompleteError(ProviderError):
    """A list that is not as long as its own count."""


class Plan(BaseModel):
    """What Vultr rents, as in `GET /plans`."""

    id: str
    type: str = ""
    vcpu_count: int = 0
    ram: float = 0
    """MB."""
    disk: float = 0
    """GB."""
    disk_count: int = 1
    monthly_cost: float = 0
    hourly_cost: float | None = None
    gpu_type: str = ""
    gpu_vram_gb: float = 0
    """Of all its GPUs together."""
    gpu_count: str | int | None = None
    """`1/8` for a slice; newer plans lack it."""
    locations: list[str] = Field(default_factory=list)
    location_cost: dict[str, Any] | list[Any] = Field(default_factory=dict)
    deploy_ondemand: bool = True


class Region(BaseModel):
    """A data centre, as in `GET /regions`."""

    id: str
    city: str = ""
    country: str = ""


class OperatingSystem(BaseModel):
    """An image, as in `GET /os`."""

    id: int
    name: str
    arch: str = ""
    family: str = ""


class SshKey(BaseModel):
    """A key of the account, as in `GET /ssh-keys`."""

    id: str
    name: str = ""
    ssh_key: str


class InstanceRow(BaseModel):
    """An instance, as in `GET /instances`. Its secrets (a password, its screen's URL) are not read."""

    id: str
    label: str = ""
    status: str
    power_status: str = ""
    server_status: str = ""
    main_ip: str = ""
    internal_ip: str = ""
    plan: str = ""
    region: str = ""
    os: str = ""
    vcpu_count: int = 0
    date_created: str = ""
    tags: list[str] = Field(default_factory=list)

    @field_validator("tags", mode="before")
    @classmethod
    def _no_tags(cls, tags: Any) -> Any:
        return tags or []


class BlockRow(BaseModel):
    """A block volume, as in `GET /blocks`."""

    id: str
    label: str = ""
    status: str = ""
    size_gb: float
    cost: float = 0
    """Dollars a month."""
    region: str = ""
    mount_id: str = ""
    """Names its disk on the machine: `/dev/disk/by-id/virtio-{mount_id}`."""
    attached_to_instance: str | None = None
    date_created: str = ""


class Account(BaseModel):
    """Money, as in `GET /account`."""

    balance: float
    """Negative: credit."""
    pending_charges: float = 0


Row = TypeVar("Row", bound=BaseModel)


class _PassingError(Exception):
    """An answer that another try may better."""

    def __init__(self, answer: "Answer") -> None:
        super().__init__(answer.status)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Answer:
    """What Vultr said: a status and, where there was one, a JSON object."""

    status: int
    body: Mapping[str, Any] | None

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def message(self) -> str:
        """Vultr's own words, or the status where it had none."""
        said = self.body.get("error") if self.body else None
        return str(said) if said else f"HTTP {self.status}"

    @property
    def gone(self) -> bool:
        """Vultr says itself that there is no such thing; a proxy's or a wrong URL's 404 says nothing."""
        if not self.body or "error" not in self.body:
            return False
        # Until 2022 an instance that was gone was a 400.
        return self.status == 404 or (self.status == 400 and "invalid instance id" in self.message.lower())


class VultrApi:
    """One account. Threads may share it; it keeps a connection for some seconds.

    Raises:
        LoginError: the key has characters that no key has.
    """

    def __init__(self, api_key: str, url: str, *, pacer: Pacer, timeout_s: float) -> None:
        self._key = api_key.strip()
        # What refuses to send such a header would print it.
        if not self._key or not all("!" <= letter <= "~" for letter in self._key):
            raise LoginError(
                "the Vultr key is empty or holds characters that no key has",
                hint="copy VULTR_API_KEY anew from my.vultr.com → Account → API",
            )
        self._url = url.rstrip("/")
        self._pacer = pacer
        self._timeout_s = timeout_s

    def rows(self, path: str, name: str, row: type[Row], **query: str) -> list[Row]:
        """All rows of a list, over all its pages; read again where it changed meanwhile.

        Raises:
            ProviderError: the list is malformed, or shorter than Vultr's own count; it proves nothing.
        """
        return self._pacer.retry(
            f"GET {name}",
            lambda: self._pages(path, name, row, query),
            worth=lambda error: isinstance(error, _IncompleteError),
            tries=2,
        )

    def _pages(self, path: str, name: str, row: type[Row], query: Mapping[str, str]) -> list[Row]:
        found: list[Row] = []
        cursor = ""
        while True:
            answer = self.read(path, per_page=str(_PAGE), **query, **({"cursor": cursor} if cursor else {}))
            content = answer.body.get(name) if answer.body else None
            meta = answer.body.get("meta") if answer.body else None
            if not isinstance(content, list) or not isinstance(meta, dict):
                raise self._malformed(path)
            found += [self.parsed(path, row, one) for one in content]
            cursor, total = (meta.get("links") or {}).get("next") or "", meta.get("total")
            if not content or not cursor:
                break
        distinct = len({getattr(one, "id", index) for index, one in enumerate(found)})
        if distinct != len(found) or distinct != total:
            raise _IncompleteError(
                f"Vultr's {path} came incomplete: {distinct} rows where it counts {total}",
                hint="nothing is concluded from it; try again",
            )
        return found

    def parsed(self, path: str, row: type[Row], content: Any) -> Row:
        """
        Raises:
            ProviderError: `content` is no such row.
        """
        try:
            return row.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise self._malformed(path, f": {where or 'row'}: {first['msg'].lower()}") from None

    def _malformed(self, path: str, why: str = "") -> ProviderError:
        return ProviderError(
            f"Vultr's {path} is malformed{why}", hint="try again; VULTR_URL must name the API's version 2"
        )

    def read(self, path: str, **query: str) -> Answer:
        """GET, repeated while Vultr fails.

        Raises:
            LoginError: the key is not accepted.
            ProviderError: anything but a good answer.
        """
        return self.good(self.ask(path, **query), f"read {path}")

    def ask(self, path: str, **query: str) -> Answer:
        """GET, repeated while Vultr fails; the answer may be a refusal."""
        return self.insist("GET", path, query=query, tries=_READS)

    def insist(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        tries: int,
        passing: str = "",
    ) -> Answer:
        """Send what may be sent twice, again while Vultr fails or says `passing` (in small letters).

        Raises:
            ProviderError: it could not be reached, or did not answer.
        """

        def once() -> Answer:
            answer = self.send(method, path, body, query=query)
            if answer.status >= 500 or (passing and not answer.good and passing in answer.message.lower()):
                raise _PassingError(answer)
            return answer

        try:
            return self._pacer.retry(_kind(method, path), once, worth=_passes, tries=tries)
        except _PassingError as error:
            return error.answer

    def good(self, answer: Answer, what: str) -> Answer:
        """The answer itself, where it is a good one.

        Raises:
            LoginError: the key is not accepted.
            ProviderError: Vultr's own words.
        """
        if answer.good:
            return answer
        if answer.status in (401, 403):
            raise self._no_login(answer)
        raise ProviderError(f"Vultr refuses to {what}: {self.redacted(answer.message)}", hint=_hint(answer))

    def _no_login(self, answer: Answer) -> LoginError:
        return LoginError(
            f"Vultr does not accept the key: {self.redacted(answer.message)}",
            hint="check VULTR_API_KEY, and that my.vultr.com → Account → API allows this machine's address",
        )

    def redacted(self, text: str) -> str:
        return text.replace(self._key, "…")[:500]

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, sent again only where Vultr says that it was too much (429) and did nothing.

        Raises:
            UnsentError: Vultr was not reached.
            UnansweredError: it may have done it.
        """
        kind = _kind(method, path)

        def once() -> Answer:
            answer = self._once(method, path, body, query)
            if answer.status == 429:
                self._pacer.refused(kind)
                raise _PassingError(answer)
            return answer

        def too_often(error: Exception) -> bool:
            return isinstance(error, _PassingError)

        try:
            answer = self._pacer.retry(kind, once, worth=too_often, tries=_ASKED_TOO_OFTEN)
        except _PassingError as error:
            return error.answer
        self._pacer.accepted(kind)
        return answer

    def _get(self, path: str, query: Mapping[str, str] | None) -> "httpx.Response":
        import httpx

        try:
            return self._kept.get(path, params=dict(query or {}))
        except httpx.RemoteProtocolError:  # the server may have closed the kept connection meanwhile
            with self._new_client() as client:
                return client.get(path, params=dict(query or {}))

    def _once(
        self, method: str, path: str, body: Mapping[str, Any] | None, query: Mapping[str, str] | None
    ) -> Answer:
        import httpx

        try:
            if method == "GET":
                response = self._get(path, query)
            else:
                # A kept connection may be dead already, and what is sent into it counts as unanswered.
                with self._new_client() as client:
                    response = client.request(method, path, json=body)
        except (
            httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError,
            httpx.UnsupportedProtocol,
        ) as error:  # fmt: skip
            raise UnsentError(
                f"Vultr cannot be reached at {self._url}: {_words(error)}",
                hint="check the network and VULTR_URL",
            ) from None
        except httpx.TransportError as error:
            raise UnansweredError(
                f"Vultr did not answer {method} {path}: {_words(error)}", hint="try again"
            ) from None
        except (httpx.InvalidURL, httpx.HTTPError, ValueError) as error:
            raise ProviderError(
                f"Vultr's answer to {method} {path} cannot be read: {_words(error)}", hint="check VULTR_URL"
            ) from None
        return Answer(response.status_code, _object(response.content))

    @cached_property
    def _trust(self) -> "ssl.SSLContext":
        """Reading the authorities takes longer than a request."""
        import httpx

        return httpx.create_ssl_context()

    @cached_property
    def _kept(self) -> "httpx.Client":
        return self._new_client()

    def _new_client(self) -> "httpx.Client":
        import httpx

        return httpx.Client(
            base_url=self._url,
            headers={"Authorization": f"Bearer {self._key}", "User-Agent": "ups-console"},
            timeout=httpx.Timeout(self._timeout_s, connect=min(_CONNECT_TIMEOUT_S, self._timeout_s)),
            verify=self._trust,
        )

    def close(self) -> None:
        self._kept.close()
        del self._kept


def _kind(method: str, path: str) -> str:
    return f"{method} {path.split('/')[1]}"


def _passes(error: Exception) -> bool:
    return isinstance(error, (_PassingError, UnsentError, UnansweredError))


def _object(content: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(content) if content else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _hint(answer: Answer) -> str:
    if answer.status == 429:
        return "too many requests from this address: wait a minute"
    if answer.status >= 500:
        return "Vultr's own fault: try again, or see status.vultr.com"
    return ""
