"""Vast.ai: other people's machines by the second, through the provider's own SDK.

A create is sent once: where its answer is lost, only the label tells whether something was rented.
A list counts only when it is whole.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from console.errors import AskedTooOftenError, LoginError, LostAnswerError, OfferGoneError, ProviderError
from console.fleet import gpus
from console.fleet.box_file import MARKER
from console.fleet.model import (
    InstanceSpec,
    Offer,
    OfferQuery,
    ProviderState,
    RemoteInstance,
    SshAddress,
    Volume,
)
from console.fleet.pacing import Pacer
from console.fleet.providers import vast_sdk
from console.fleet.providers.base import Capabilities
from console.fleet.providers.vast_sdk import AnswerError, Sdk
from console.runs.transport import Transport
from ups.errors import NotFoundError, UsageError

URL = "https://console.vast.ai"
DEFAULT_IMAGE = "pytorch/pytorch:2.9.1-cuda12.8-cudnn9-runtime"
SPACING_S = {"create": 4.5, "destroy": 3.0}
"""Between two calls; closer ones were refused."""
MAX_START_CHARACTERS = 4096
"""Of the start script and the arguments together."""
BID_OVER_MINIMUM = 1.2
"""Who bids just the least that is accepted is the first to be outbid."""

_PAGE = 25
_MAX_PAGES = 400
_OFFERS = 1000
_READS = 3
_DESTROYS = 6
_HOURS_PER_MONTH = 730.0
_GONE = (404, 409, 410)
_NO_IMAGE = re.compile(
    r"manifest for .* not found|manifest unknown|pull access denied|repository .* (not found|does not exist)"
    r"|invalid reference format",
    re.I,
)
_BILLING_HINT = "add credit at https://cloud.vast.ai/billing/, or lower what you ask for"
_DOWN_HINT = "try again in a minute; https://status.vast.ai tells of outages"

_STATES = {
    None: ProviderState.STARTING,
    "created": ProviderState.STARTING,
    "loading": ProviderState.STARTING,
    "rebooting": ProviderState.STARTING,
    "running": ProviderState.RUNNING,
    "stopped": ProviderState.STOPPED,
    "frozen": ProviderState.STOPPED,
    "exited": ProviderState.STOPPED,
}
"""Of `actual_status`; what is not here (`unknown`, `offline`, a new word) is unknown."""

T = TypeVar("T")


class _NotWholeError(ProviderError):
    """A list has fewer or more rows than it says."""


class VastProvider:
    """Instances of one Vast.ai account, at `url`.

    `open_transport` reaches a row that has an address. The key is sent as a header and nowhere else.
    """

    name = "vast"

    def __init__(
        self,
        api_key: str,
        url: str = URL,
        *,
        open_transport: Callable[[RemoteInstance], Transport],
        pacer: Pacer | None = None,
        pace: float = 1.0,
    ) -> None:
        self._key = api_key.strip()
        self._url = url
        self.capabilities = Capabilities(rented=True, spot=True, box_api=url, pace=pace)
        self._open_transport = open_transport
        self._pacer = pacer or Pacer.at(pace, SPACING_S)
        self._seen: dict[str, RemoteInstance] = {}
        """Rows as they were listed last, for their addresses."""
        self._seen_lock = threading.Lock()

    def __repr__(self) -> str:
        return f"VastProvider({self._url})"

    @cached_property
    def _sdk(self) -> Sdk:
        return vast_sdk.load()

    @cached_property
    def _client(self) -> Any:
        return vast_sdk.make_client(self._sdk, self._key, self._url)

    def offers(self, query: OfferQuery) -> list[Offer]:
        if query.gpus and all(gpus.is_known(name) for name in query.gpus):
            rows = self._search(query, gpus.resolve(query.gpus))
            return self._to_offers(rows, query)
        # A model that nobody here has heard of may well be offered there.
        found = self._to_offers(self._search(query, ()), query)
        if not query.gpus:
            return found
        names = gpus.resolve(query.gpus, {offer.gpu for offer in found})
        return [offer for offer in found if offer.gpu in names]

    def _search(self, query: OfferQuery, names: Sequence[str]) -> list[Any]:
        wanted: dict[str, Any] = {"num_gpus": {"eq": query.num_gpus}}
        if names:
            wanted["gpu_name"] = {"in": list(names)}
        return self._read(
            "search",
            "search for offers",
            lambda: self._sdk.offers.search_offers(
                self._client,
                wanted,
                offer_type="bid" if query.spot else "on-demand",
                order=[["dph_total", "asc"]],
                limit=_OFFERS,
                storage=query.disk_gb,
            ),
        )

    def _to_offers(self, rows: Any, query: OfferQuery) -> list[Offer]:
        if not isinstance(rows, list):
            raise _malformed("the offers", rows)
        found = [_to_offer(row, query) for row in rows]
        return sorted(found, key=lambda offer: offer.usd_per_hour)

    def create(self, spec: InstanceSpec) -> str:
        ask, terms = _terms_of(spec)
        sdk, client = self._sdk, self._client
        self._pacer.wait("create")
        try:
            answer = vast_sdk.call(sdk, sdk.instances.create_instance, client, ask, **terms, secret=self._key)
        except AnswerError as error:
            raise self._create_error(error, spec.offer) from None
        self._pacer.accepted("create")
        return _contract_of(answer)

    def preview(self, spec: InstanceSpec) -> str:
        ask, terms = _terms_of(spec)
        body = self._sdk.instances.build_create_instance_payload(**terms)
        return "\n".join(
            (
                f"PUT {self._url.rstrip('/')}/api/v0/asks/{ask}/",
                "Authorization: Bearer •••",
                "Content-Type: application/json",
                "",
                json.dumps(body, indent=2, ensure_ascii=False),
            )
        )

    def _create_error(self, error: AnswerError, offer: Offer) -> ProviderError:
        status = error.status
        if status is None and not error.sent:
            return ProviderError(
                f"Vast.ai cannot be reached: {error.words}; nothing was rented", hint=_DOWN_HINT
            )
        if status is None or status < 400 or status >= 500:
            return LostAnswerError(
                f"nobody knows whether offer {offer.id} was rented: {error.words}",
                hint="its label is looked for before anything else is rented",
            )
        if status in (401, 403):
            return _login_error(error)
        if status in _GONE or error.code == "no_such_ask":
            return OfferGoneError(f"offer {offer.id} is gone: {error.words}", hint="look for offers again")
        if status == 429:
            self._pacer.refused("create")
            return AskedTooOftenError(
                "Vast.ai is asked too often; nothing was rented", hint="try again in a minute"
            )
        return _refusal(error.words)

    def get(self, instance: str) -> RemoteInstance | None:
        number = _number_of(instance)

        def read() -> Any:
            response = self._client.get(f"/instances/{number}/", query_args={"owner": "me"})
            if response.status_code == 404:
                return {"instances": None}
            response.raise_for_status()
            return response.json()

        answer = self._read("get", f"look at instance {instance}", read)
        if not isinstance(answer, dict) or "instances" not in answer:
            raise _malformed(f"instance {instance}", answer)
        row = answer["instances"]
        if row is None:
            with self._seen_lock:
                self._seen.pop(instance, None)
            return None
        found = _to_instance(row)
        if found.id != instance:
            raise _malformed(f"instance {instance}", row)
        with self._seen_lock:
            self._seen[instance] = found
        return found

    def list(self) -> list[RemoteInstance]:
        try:
            listed = self._rows()
        except _NotWholeError:  # an instance that came or went between two pages looks like this
            listed = self._rows()
        rows = {instance.id: instance for instance in map(_to_instance, listed)}
        with self._seen_lock:
            self._seen = rows
        return [*rows.values()]

    def _rows(self) -> Sequence[Any]:
        """Every row of every page.

        Raises:
            ProviderError: rows are missing, doubled or no rows.
        """
        rows: dict[Any, Any] = {}
        token: Any = None
        total: Any = None
        for _ in range(_MAX_PAGES):
            page = self._page(token)
            listed, total = page.get("instances"), page.get("total_instances", total)
            if not isinstance(listed, list) or not isinstance(total, int):
                raise _malformed("the list of instances", page)
            for row in listed:
                if not isinstance(row, dict) or row.get("id") in rows:
                    raise _malformed("the list of instances", row)
                rows[row.get("id")] = row
            following = page.get("next_token")
            if not following:
                if len(rows) != total:
                    raise _NotWholeError(
                        f"Vast.ai lists {len(rows)} of {total} instances: the list is not whole",
                        hint="try again; a list that is not whole proves nothing",
                    )
                return [*rows.values()]
            if following == token:
                break
            token = following
        raise ProviderError("Vast.ai's list of instances does not end", hint=_DOWN_HINT)

    def _page(self, token: Any) -> dict[str, Any]:
        params = {"select_filters": {}, "order_by": [{"col": "id", "dir": "asc"}], "limit": _PAGE}
        if token is not None:
            params["after_token"] = token
        page = self._read(
            "list", "list the instances", lambda: self._sdk.instances.show_instances_v1(self._client, params)
        )
        if not isinstance(page, dict):
            raise _malformed("the list of instances", page)
        return page

    def destroy(self, instance: str) -> None:
        number = _number_of(instance)
        try:
            answer = self._retry(
                "destroy", lambda: self._sdk.instances.destroy_instance(self._client, number), _DESTROYS
            )
        except AnswerError as error:
            if error.status in (404, 410):  # gone already, or so it says: the list will tell
                return
            raise self._error(error, f"destroy instance {instance}") from None
        if isinstance(answer, dict) and answer.get("success") is False:
            if answer.get("error") == "no_such_instance":
                return
            raise ProviderError(
                f"Vast.ai does not destroy instance {instance}: {_words_of(answer)}", hint=_DOWN_HINT
            )

    def transport(self, instance: str) -> Transport:
        with self._seen_lock:
            row = self._seen.get(instance)
        if row is None or row.ssh is None:
            row = self.get(instance)
        if row is None:
            raise ProviderError(f"Vast.ai has no instance {instance}", hint="`ups-console fleet` lists them")
        if row.ssh is None:
            raise ProviderError(
                f"instance {instance} has no address yet: {row.status or row.state}",
                hint="`ups-console logs --provider` shows what the host does",
            )
        return self._open_transport(row)

    def attach_key(self, public_key: str) -> None:
        if self._has_key(public_key):
            return
        try:
            self._retry(
                "keys", lambda: self._sdk.keys.create_ssh_key(self._client, public_key.strip()), _READS
            )
        except AnswerError as error:
            # Another console may have been quicker.
            if error.status in (401, 403) or not self._has_key(public_key):
                raise self._error(error, "register the SSH key") from None
            return
        if not self._has_key(public_key):
            raise ProviderError("Vast.ai took the SSH key, and does not list it", hint=_DOWN_HINT)

    def _has_key(self, public_key: str) -> bool:
        blob = public_key.split()[1] if len(public_key.split()) > 1 else public_key.strip()
        answer = self._read("keys", "list the SSH keys", lambda: self._sdk.keys.show_ssh_keys(self._client))
        rows = answer.get("ssh_keys", answer.get("keys")) if isinstance(answer, dict) else answer
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise _malformed("the list of SSH keys", answer)
        texts = [
            str(row.get("public_key") or row.get("ssh_key") or row.get("key") or "")
            for row in rows
            if not row.get("deleted_at")
        ]
        return any(blob in text.split() for text in texts)

    def balance(self) -> float | None:
        user = self._read("user", "read the balance", lambda: self._sdk.billing.show_user(self._client))
        for name in ("credit", "balance"):
            value = user.get(name) if isinstance(user, dict) else None
            if isinstance(value, int | float) and not isinstance(value, bool):
                return float(value)
        raise _malformed("the balance", user)

    def volumes(self) -> Sequence[Volume]:
        rows = self._read("volumes", "list the volumes", lambda: self._sdk.storage.show_volumes(self._client))
        if not isinstance(rows, list):
            raise _malformed("the list of volumes", rows)
        return [_to_volume(row) for row in rows]

    def delete_volume(self, volume: str) -> None:
        number = _number_of(volume)
        try:
            answer = self._retry(
                "destroy", lambda: self._sdk.storage.delete_volume(self._client, number), _DESTROYS
            )
        except AnswerError as error:
            if error.status in (404, 410):
                raise NotFoundError(f"Vast.ai has no volume {volume}") from None
            raise self._error(error, f"delete volume {volume}") from None
        if not isinstance(answer, dict) or answer.get("success") is False:
            words = _words_of(answer) if isinstance(answer, dict) else "no reason given"
            raise ProviderError(
                f"Vast.ai does not delete volume {volume}: {words}",
                hint="destroy the instance that it is attached to first",
            )

    def logs(self, instance: str, *, tail: int = 200) -> Sequence[str]:
        number = _number_of(instance)
        for daemon in (False, True):  # a container that never came up has no log, but its host has
            text = self._read(
                "logs",
                f"read the log of instance {instance}",
                lambda daemon=daemon: self._sdk.instances.logs(  # type: ignore[misc]
                    self._client, number, tail=str(tail), daemon_logs=daemon
                ),
                tries=1,  # the SDK itself waits for the log to be there
            )
            lines = text.splitlines() if isinstance(text, str) else []
            if lines:
                return lines[-tail:]
        return []

    def _read(self, kind: str, what: str, call: Callable[[], T], *, tries: int = _READS) -> T:
        try:
            return self._retry(kind, call, tries)
        except AnswerError as error:
            raise self._error(error, what) from None

    def _retry(self, kind: str, call: Callable[[], T], tries: int) -> T:
        """Raises AnswerError where it did not work, however often."""

        def attempt() -> T:
            try:
                return vast_sdk.call(self._sdk, call, secret=self._key)
            except AnswerError as error:
                if error.status == 429:
                    self._pacer.refused(kind)
                raise

        result = self._pacer.retry(kind, attempt, worth=_passes, tries=tries)
        self._pacer.accepted(kind)
        return result

    def _error(self, error: AnswerError, what: str) -> ProviderError:
        if error.status in (401, 403):
            return _login_error(error)
        if error.status == 429:
            return ProviderError(
                f"Vast.ai is asked too often to {what}: {error.words}", hint="try again in a minute"
            )
        hint = _DOWN_HINT if error.passing else ""
        return ProviderError(f"Vast.ai did not {what}: {error.words}", hint=hint)


def _passes(error: Exception) -> bool:
    return isinstance(error, AnswerError) and error.passing


def _login_error(error: AnswerError) -> LoginError:
    return LoginError(
        f"Vast.ai does not accept the key: {error.words}",
        hint="set VAST_API_KEY to a key from https://cloud.vast.ai/manage-keys/ that may manage instances",
    )


def _refusal(words: str) -> ProviderError:
    broke = any(word in words.lower() for word in ("credit", "balance", "funds", "billing"))
    return ProviderError(f"Vast.ai refuses: {words}; nothing was rented", hint=_BILLING_HINT if broke else "")


def _malformed(what: str, content: object) -> ProviderError:
    return ProviderError(
        f"Vast.ai's answer on {what} makes no sense ({type(content).__name__})",
        hint="try again; if it stays so, the API has changed",
    )


def _words_of(answer: Mapping[str, Any]) -> str:
    return str(answer.get("msg") or answer.get("error") or "no reason given")


def _contract_of(answer: object) -> str:
    """The id of what was rented, from an answer that arrived."""
    contract = answer.get("new_contract") if isinstance(answer, dict) else None
    success = answer.get("success") if isinstance(answer, dict) else None
    if isinstance(contract, int) and not isinstance(contract, bool) and success is not False:
        return str(contract)
    if isinstance(answer, dict) and success is False and not contract:
        words = _words_of(answer)
        if answer.get("error") == "no_such_ask":
            raise OfferGoneError(f"the offer is gone: {words}", hint="look for offers again")
        raise _refusal(words)
    raise LostAnswerError(
        "Vast.ai's answer does not say whether something was rented",
        hint="its label is looked for before anything else is rented",
    )


def _number_of(instance: str) -> int:
    if not instance.isdecimal():
        raise ProviderError(f"{instance!r} is no id of an instance at Vast.ai")
    return int(instance)


def _terms_of(spec: InstanceSpec) -> tuple[int, dict[str, Any]]:
    """The ask, and what the SDK is told of the instance to make of it.

    Raises:
        UsageError: Vast.ai cannot do that.
    """
    ask, bid = _ask_of(spec.offer)
    if len(spec.onstart) > MAX_START_CHARACTERS:
        raise UsageError(
            f"the start script has {len(spec.onstart)} characters; Vast.ai takes {MAX_START_CHARACTERS}",
            hint="let it fetch what is long, or upload that over SSH",
        )
    if spec.volume_gb is not None:
        raise UsageError(
            "Vast.ai ties a volume to one machine: none is made there", hint="ask for a larger disk"
        )
    return ask, {
        "image": spec.image or DEFAULT_IMAGE,
        "disk": spec.disk_gb,
        "label": spec.label,
        "onstart_cmd": spec.onstart or None,
        "env": {MARKER: spec.label},
        "price": bid,
        "cancel_unavail": True,
        "ssh": True,
        "direct": True,
    }


def _ask_of(offer: Offer) -> tuple[int, float | None]:
    """The ask behind an offer, and what is bid for it; None where its price is fixed."""
    ask, _, bid = offer.id.partition("@")
    try:
        return int(ask), float(bid) if offer.spot else None
    except ValueError:
        raise ProviderError(f"{offer.id!r} is no offer of Vast.ai", hint="look for offers again") from None


def _to_offer(row: Any, query: OfferQuery) -> Offer:
    try:
        ask, price = int(row["id"]), float(row["dph_total"])
        if query.spot:
            bid = round(float(row["min_bid"]) * BID_OVER_MINIMUM, 4)
            price = bid + float(row.get("storage_cost") or 0.0) * query.disk_gb / _HOURS_PER_MONTH
        reliability = row.get("reliability", row.get("reliability2"))
        return Offer(
            id=f"{ask}@{bid:.4f}" if query.spot else str(ask),
            provider=VastProvider.name,
            gpu=str(row["gpu_name"]),
            num_gpus=int(row["num_gpus"]),
            vram_gb=round(float(row["gpu_ram"]) / 1024.0, 1),
            usd_per_hour=price,
            cpu_cores=int(row.get("cpu_cores_effective") or row.get("cpu_cores") or 0),
            ram_gb=round(float(row.get("cpu_ram") or 0.0) / 1024.0, 1),
            disk_gb=float(row["disk_space"]),
            network_mbps=_optional(row.get("inet_down")),
            reliability=_optional(reliability),
            region=str(row.get("geolocation") or ""),
            machine=str(row["machine_id"]) if row.get("machine_id") is not None else None,
            cuda=_optional(row.get("cuda_max_good")),
            spot=query.spot,
            usd_per_gb=float(row.get("inet_down_cost") or 0.0),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _malformed("the offers", error) from None


def _optional(value: Any) -> float | None:
    return None if value is None else float(value)


def _to_instance(row: Any) -> RemoteInstance:
    try:
        status = row["actual_status"]
        state = _state_of(row)
        return RemoteInstance(
            id=str(_whole(row["id"])),
            provider=VastProvider.name,
            label=_text(row["label"]),
            state=state,
            usd_per_hour=float(row["dph_total"] or 0.0),
            what=f"{_text(row['gpu_name'])} ×{_whole(row['num_gpus'])}",
            created=time.time() if row["start_date"] is None else float(row["start_date"]),
            status=": ".join(part for part in (_text(status), _line(row.get("status_msg"))) if part),
            ssh=_address_of(row) if state in (ProviderState.RUNNING, ProviderState.UNKNOWN) else None,
            machine=str(row["machine_id"]) if row.get("machine_id") is not None else None,
            image_problem=_image_problem(_line(row.get("status_msg"))),
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise _malformed("an instance", error) from None


def _image_problem(message: str) -> str:
    """The message where it says, in Docker's words, that nobody has the image."""
    return message if _NO_IMAGE.search(message) else ""


def _state_of(row: Mapping[str, Any]) -> ProviderState:
    status = row["actual_status"]
    if status is not None and not isinstance(status, str):
        raise TypeError(status)
    state = _STATES.get(status, ProviderState.UNKNOWN)
    # Outbid or halted before it ever ran.
    if state is ProviderState.STARTING and row.get("intended_status") == "stopped":
        return ProviderState.STOPPED
    return state


def _address_of(row: Mapping[str, Any]) -> SshAddress | None:
    """The direct way where the host has an open port, else the one through Vast.ai's relay."""
    ports = row.get("ports")
    direct = ports.get("22/tcp") if isinstance(ports, dict) else None
    if direct and row.get("public_ipaddr"):
        return SshAddress(str(row["public_ipaddr"]).strip(), int(direct[0]["HostPort"]))
    if row.get("ssh_host") and row.get("ssh_port"):
        return SshAddress(str(row["ssh_host"]).strip(), int(row["ssh_port"]))
    return None


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(value)
    return value


def _text(value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise TypeError(value)
    return (value or "").strip()


def _line(value: Any) -> str:
    return " ".join(str(value or "").split())[:300]


def _to_volume(row: Any) -> Volume:
    try:
        size = float(row["disk_space"])
        price = row.get("dph_total")
        if price is None:
            price = float(row.get("storage_cost") or 0.0) * size / _HOURS_PER_MONTH
        attached = row.get("instances") or []
        return Volume(
            id=str(_whole(row["id"])),
            provider=VastProvider.name,
            label=_text(row.get("label")),
            size_gb=size,
            usd_per_hour=float(price),
            instance=str(attached[0]) if attached else None,
            created=float(row["start_date"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise _malformed("a volume", error) from None
