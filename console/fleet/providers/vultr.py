"""Vultr: whole GPUs and slices of them by the hour, on virtual machines with block volumes.

What differs from other markets: prices are fixed, nobody bids, a machine that is switched off costs as
much as one that runs, volumes outlive their machine, and no key exists that may end just one machine.
"""

import base64
import json
import math
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from console.errors import (
    LostAnswerError,
    OfferGoneError,
    ProviderError,
    UnreachableError,
)
from console.fleet import gpus
from console.fleet.model import (
    InstanceSpec,
    Label,
    Offer,
    OfferQuery,
    ProviderState,
    RemoteInstance,
    SshAddress,
    Volume,
)
from console.fleet.pacing import Pacer
from console.fleet.providers.base import Capabilities
from console.fleet.providers.vultr_api import (
    URL,
    Account,
    Answer,
    BlockRow,
    InstanceRow,
    OperatingSystem,
    Plan,
    Region,
    SshKey,
    UnansweredError,
    VultrApi,
)
from console.fleet.providers.vultr_boot import user_data
from console.runs.transport import Transport
from ups.errors import NotFoundError, UsageError

HOURS_PER_MONTH = 672.0
"""By which Vultr divides a monthly price, except for GPU plans, whose hourly price it says itself."""
KEEP_SUFFIX = "-keep"
"""Ends the label of a volume that outlives its instance: it is then no instance's label any more."""
PORT_TAG = "ssh_port:"
"""A tag such as `ssh_port:2222` says where sshd listens on a machine where it is not port 22."""
_PERSISTENT = 20
"""Tries to end something, in about four minutes: a machine that is being installed cannot be destroyed."""
_LOOKS_FOR_A_VOLUME = 4
_INSTALLED_AFTER_S = 1800.0
_LEAST_VOLUME_GB = 10
_LOOKS_AT_ONCE = 4
"""Regions asked at the same time; Vultr allows 30 requests a second."""

_WHOLE_GPU_GB = {
    "A16": 16, "A40": 48, "A100": 80, "A100 SXM": 80, "L40": 48, "L40S": 48, "H100": 80, "H200": 141,
    "GH200": 96, "B200": 192, "MI300X": 192, "MI325X": 256, "MI355X": 288,
}  # fmt: skip
"""VRAM of one whole GPU: newer plans do not say how many they have."""

_SOLD_OUT = re.compile(
    r"not available|unavailable|sold out|out of stock|no capacity|insufficient capacity", re.I
)

_DETACHED = re.compile(r"not (currently )?attached", re.I)


class _NotYetError(Exception):
    """It is not there yet."""


class VultrProvider:
    """Rents at Vultr with one account's key. Opens a machine through `open_transport`.

    Raises (all calls):
        LoginError: Vultr does not accept the key, or not from this address.
        ProviderError: Vultr refuses, or cannot be reached, or answers something malformed.
    """

    name = "vultr"
    capabilities = Capabilities(rented=True, private_network=True, offers_repeat=True, volumes=True)

    def __init__(
        self,
        api_key: str,
        url: str = URL,
        *,
        open_transport: Callable[[RemoteInstance], Transport],
        pacer: Pacer | None = None,
        timeout_s: float = 30.0,
        clock: Callable[[], float] = time.time,
        pace: float = 1.0,
    ) -> None:
        self.capabilities = replace(self.capabilities, pace=pace)
        self._pacer = pacer or Pacer.at(pace, {})
        self._api = VultrApi(api_key, url, pacer=self._pacer, timeout_s=timeout_s)
        self._url = url
        self._open_transport = open_transport
        self._clock = clock
        self._plans: dict[str, Plan] = {}
        self._lock = threading.Lock()
        self._seen: dict[str, RemoteInstance] = {}
        """Rows as they were listed last, for their addresses."""
        self._complete: set[str] = set()
        """Machines whose volumes are attached."""

    def __repr__(self) -> str:
        return f"VultrProvider({self._url})"

    # Offers

    def offers(self, query: OfferQuery) -> list[Offer]:
        if query.spot:
            return []
        plans = [plan for plan in self._api.rows("/plans", "plans", Plan, type="vcg") if plan.deploy_ondemand]
        fitting = [plan for plan in plans if _gpus(plan)[1] == max(query.num_gpus, 1)]
        if query.gpus:
            meant = gpus.resolve(query.gpus, {_gpus(plan)[0] for plan in plans})
            fitting = [plan for plan in fitting if _gpus(plan)[0] in meant]
        wanted = {region for plan in fitting for region in plan.locations}
        regions = [one for one in self._api.rows("/regions", "regions", Region) if one.id in wanted]
        names = [region.id for region in regions]
        with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
            stock = dict(zip(names, pool.map(self._available, names), strict=True))
        found = [
            self._offer(plan, region)
            for plan in fitting
            for region in regions
            if region.id in plan.locations and plan.id in stock[region.id]
        ]
        return sorted(found, key=lambda offer: (offer.usd_per_hour, offer.id))

    def _available(self, region: str) -> set[str]:
        path = f"/regions/{region}/availability"
        content = (self._api.read(path, type="vcg").body or {}).get("available_plans")
        if not isinstance(content, list):
            raise ProviderError(f"Vultr's {path} is malformed", hint="try again")
        return {str(plan) for plan in content}

    def _offer(self, plan: Plan, region: Region) -> Offer:
        gpu, count, vram = _gpus(plan)
        return Offer(
            id=f"{plan.id}@{region.id}",
            provider=self.name,
            gpu=gpu,
            num_gpus=count,
            vram_gb=vram,
            usd_per_hour=_hourly(plan, region.id),
            cpu_cores=plan.vcpu_count,
            ram_gb=round(plan.ram / 1024, 1),
            disk_gb=plan.disk * max(plan.disk_count, 1),
            network_mbps=None,
            reliability=None,
            region=", ".join(part for part in (region.id, region.city, region.country) if part),
        )

    # Renting

    def create(self, spec: InstanceSpec) -> str:
        body = {
            **_machine_body(spec),
            **self._image(spec.image),
            **({"sshkey_id": [self._key_id(spec.public_key)]} if spec.public_key else {}),
        }
        # The volume comes first: after the machine's create nothing may fail and be taken for a refusal.
        volume = self._create_volume(spec) if spec.volume_gb is not None else None
        body["user_data"] = _user_data(spec, None if volume is None else volume.mount_id)
        try:
            return self._create_instance(body, spec)
        except LostAnswerError:
            raise
        except ProviderError as error:
            if volume is not None:
                self._give_back(volume.id, error)
            raise

    def preview(self, spec: InstanceSpec) -> str:
        machine = {
            **_machine_body(spec),
            "user_data": _user_data(spec, None if spec.volume_gb is None else "MOUNT_ID"),
            **(self._image(spec.image) if spec.image else {"os_id": "<the newest Ubuntu LTS>"}),
            **({"sshkey_id": ["<the id of this console's key>"]} if spec.public_key else {}),
        }
        boot = base64.b64decode(str(machine["user_data"])).decode()
        lines = []
        if spec.volume_gb is not None:
            lines += [*self._shown("/blocks", _volume_body(spec)), ""]
        lines += [*self._shown("/instances", machine), "", "user_data is the base64 of", boot.rstrip()]
        if spec.volume_gb is not None:
            attached = {"instance_id": "<its id>", "live": True}
            lines += ["", "and once it runs", "", *self._shown("/blocks/<its id>/attach", attached)]
        return "\n".join(lines)

    def _shown(self, path: str, body: Mapping[str, object]) -> Sequence[str]:
        head = (f"POST {self._url.rstrip('/')}{path}", "Authorization: Bearer •••", "")
        return (*head, json.dumps(body, indent=2, ensure_ascii=False))

    def _image(self, image: str) -> dict[str, int | str]:
        if not image:
            return {"os_id": self._newest_ubuntu()}
        if image.isdecimal():
            return {"os_id": int(image)}
        if not re.fullmatch(r"[\w-]+", image):
            raise UsageError(
                f"Vultr rents machines, not containers: {image!r} is no id of an operating system there",
                hint="leave it out for the newest Ubuntu LTS, or name an id of `GET /v2/os`, such as 2284",
            )
        return {"image_id": image}

    def _newest_ubuntu(self) -> int:
        found: list[tuple[tuple[int, int], int]] = []
        for system in self._api.rows("/os", "os", OperatingSystem):
            release = re.match(r"Ubuntu (\d+)\.(\d+) LTS x64", system.name)
            if release:
                found.append(((int(release[1]), int(release[2])), system.id))
        if not found:
            raise ProviderError(
                "Vultr lists no Ubuntu LTS", hint="name an operating system's id with --os-id"
            )
        return max(found)[1]

    def _create_instance(self, body: Mapping[str, object], spec: InstanceSpec) -> str:
        try:
            answer = self._api.send("POST", "/instances", body)
        except UnansweredError as error:
            raise LostAnswerError(
                f"{error.message}: {spec.label} may have been rented", hint="it is looked for by its label"
            ) from error
        if answer.status >= 500:
            raise LostAnswerError(
                f"Vultr failed ({self._api.redacted(answer.message)}): {spec.label} may have been rented",
                hint="it is looked for by its label",
            )
        if answer.status == 409 or (answer.status == 400 and _SOLD_OUT.search(answer.message)):
            raise OfferGoneError(
                f"Vultr no longer has {spec.offer.id}: {self._api.redacted(answer.message)}",
                hint="choose another plan or region",
            )
        self._api.good(answer, f"rent {spec.offer.id}")
        made = answer.body.get("instance") if answer.body else None
        if not isinstance(made, dict) or not made.get("id"):
            raise LostAnswerError(
                f"Vultr's answer to the create of {spec.label} names no instance",
                hint="it is looked for by its label",
            )
        instance = str(made["id"])
        # Only its label says whose it is: one that was cut off would be a stranger's for ever.
        if made.get("label") != spec.label:
            self.destroy(instance)
            raise ProviderError(
                f"Vultr gave {instance} the label {made.get('label')!r} instead of {spec.label}",
                hint="it was destroyed again",
            )
        return instance

    # Volumes

    def _create_volume(self, spec: InstanceSpec) -> BlockRow:
        body = _volume_body(spec)
        label = str(body["label"])
        try:
            answer = self._api.send("POST", "/blocks", body)
        except UnansweredError as error:
            answer = Answer(599, {"error": error.message})
        made = answer.body.get("block") if answer.good and answer.body else None
        if isinstance(made, dict) and made.get("id"):
            row = self._api.parsed("/blocks", BlockRow, made)
            if row.label != label:
                self.delete_volume(row.id)
                raise ProviderError(
                    f"Vultr gave the volume {row.id} the label {row.label!r} instead of {label}",
                    hint="it was deleted again; nothing was rented",
                )
            return row
        if 300 <= answer.status < 500:
            self._api.good(answer, f"make a volume of {body['size_gb']} GB in {body['region']}")
        found = self._volume_called(label)
        if found is not None:
            return found
        raise LostAnswerError(
            f"nobody knows whether the volume {label} was made: {self._api.redacted(answer.message)}",
            hint="no instance was rented; the volume, if it is there, is listed with the others",
        )

    def _volume_called(self, label: str) -> BlockRow | None:
        """What was made a moment ago may not be listed yet."""

        def look() -> BlockRow:
            for row in self._blocks():
                if row.label == label:
                    return row
            raise _NotYetError

        try:
            return self._pacer.retry(
                "look", look, worth=lambda error: isinstance(error, _NotYetError), tries=_LOOKS_FOR_A_VOLUME
            )
        except _NotYetError:
            return None

    def _give_back(self, volume: str, error: ProviderError) -> None:
        try:
            self.delete_volume(volume)
        except NotFoundError:
            pass
        except ProviderError as second:
            error.message += f"; its volume {volume} was made and could not be deleted: {second.message}"
            error.hint = "the volume goes on costing: delete it"
            error.args = (error.message,)

    def _blocks(self) -> Sequence[BlockRow]:
        return self._api.rows("/blocks", "blocks", BlockRow)

    def volumes(self) -> Sequence[Volume]:
        return [
            Volume(
                id=row.id,
                provider=self.name,
                label=row.label,
                size_gb=row.size_gb,
                usd_per_hour=row.cost / HOURS_PER_MONTH,
                instance=row.attached_to_instance or None,
                created=_seconds(row.date_created),
            )
            for row in self._blocks()
        ]

    def delete_volume(self, volume: str) -> None:
        answer = self._api.ask(f"/blocks/{volume}")
        if answer.gone:
            raise NotFoundError(f"Vultr has no volume {volume}", hint="`ups-console fleet` lists them")
        body = self._api.good(answer, f"read the volume {volume}").body
        row = self._api.parsed("/blocks", BlockRow, body.get("block") if body else None)
        if row.attached_to_instance:
            answer = self._api.insist(
                "POST", f"/blocks/{volume}/detach", {"live": True}, tries=_PERSISTENT, passing="locked"
            )
            if not _DETACHED.search(answer.message):
                self._api.good(answer, f"detach the volume {volume}")
        answer = self._api.insist("DELETE", f"/blocks/{volume}", tries=_PERSISTENT, passing="attached")
        if not answer.gone:
            self._api.good(answer, f"delete the volume {volume}")

    def _with_volumes(self, row: RemoteInstance) -> RemoteInstance:
        """Attach its volumes. A machine takes none while it is installed, and none may be late on it."""
        with self._lock:
            complete = row.id in self._complete
        if complete or row.ssh is None or Label.parse(row.label) is None:
            return row
        try:
            self._attach_volumes(row)
        except ProviderError as error:
            return replace(row, ssh=None, status=error.message)
        with self._lock:
            self._complete.add(row.id)
        return row

    def _attach_volumes(self, row: RemoteInstance) -> None:
        for block in self._blocks():
            if block.label in (row.label, row.label + KEEP_SUFFIX) and not block.attached_to_instance:
                answer = self._api.send(
                    "POST", f"/blocks/{block.id}/attach", {"instance_id": row.id, "live": True}
                )
                if not answer.good:
                    raise ProviderError(f"its volume is not attached: {self._api.redacted(answer.message)}")

    # Looking

    def get(self, instance: str) -> RemoteInstance | None:
        """The instance; it has no address before its volumes, which are attached here, are its own."""
        row = self._look(instance)
        return None if row is None else self._with_volumes(row)

    def _look(self, instance: str) -> RemoteInstance | None:
        answer = self._api.ask(f"/instances/{instance}")
        if answer.gone:
            with self._lock:
                self._seen.pop(instance, None)
            return None
        body = self._api.good(answer, f"read the instance {instance}").body
        row = self._api.parsed("/instances", InstanceRow, body.get("instance") if body else None)
        if row.id != instance:
            raise ProviderError(f"Vultr answered with {row.id} when asked for {instance}", hint="try again")
        found = self._describe(row)
        with self._lock:
            self._seen[instance] = found
        return found

    def list(self) -> list[RemoteInstance]:
        found = [self._describe(row) for row in self._api.rows("/instances", "instances", InstanceRow)]
        with self._lock:
            self._seen = {row.id: row for row in found}
        return found

    def _describe(self, row: InstanceRow) -> RemoteInstance:
        created = _seconds(row.date_created)
        state, status = _state(row, self._clock() - created)
        plan = self._plan(row.plan)
        return RemoteInstance(
            id=row.id,
            provider=self.name,
            label=row.label,
            state=state,
            usd_per_hour=_hourly(plan, row.region) if plan else 0.0,
            what=_hardware(plan) if plan and plan.gpu_type else f"{row.vcpu_count} cores ({row.plan})",
            created=created,
            status=status if plan else f"{status}; the price of its plan {row.plan} is not listed",
            ssh=_address(row),
            private_address=row.internal_ip,
        )

    def _plan(self, plan: str) -> Plan | None:
        if not self._plans:
            self._plans = {one.id: one for one in self._api.rows("/plans", "plans", Plan)}
        return self._plans.get(plan)

    def logs(self, instance: str, *, tail: int = 200) -> Sequence[str]:
        words = f"Vultr keeps no log of {instance} that its API gives: open its console at my.vultr.com"
        return [words][-tail:]

    def balance(self) -> float | None:
        """Credit that was paid in and is left; None without any: Vultr then charges a card each month."""
        body = self._api.read("/account").body
        account = self._api.parsed("/account", Account, body.get("account") if body else None)
        return -account.balance - account.pending_charges if account.balance < 0 else None

    # Ending

    def destroy(self, instance: str) -> None:
        """Ask for the destruction of an instance and of its volumes, except those that are to be kept.

        The volumes go first, because only the living instance tells which are its own: whoever dies in
        between finds both again. What cannot be done to them never keeps the instance alive.
        """
        with self._lock:
            self._complete.add(instance)  # whoever looks at it meanwhile attaches nothing again
        volumes, trouble = self._volumes_of(instance)
        left = []
        for volume in volumes:
            self._try("POST", f"/blocks/{volume.id}/detach", {"live": True})
            answer = self._try("DELETE", f"/blocks/{volume.id}")
            if not (answer.good or answer.gone):
                left.append(volume)
        answer = self._api.insist("DELETE", f"/instances/{instance}", tries=_PERSISTENT, passing="locked")
        if not answer.gone:
            self._api.good(answer, f"destroy {instance}")
        for volume in left:
            with suppress(NotFoundError):
                self.delete_volume(volume.id)
        if trouble is not None:
            raise ProviderError(
                f"{instance} was destroyed, but whether it had volumes is not known: {trouble.message}",
                hint="look at the volumes: they go on costing",
            )

    def _volumes_of(self, instance: str) -> tuple[Sequence[BlockRow], ProviderError | None]:
        try:
            row = self._look(instance)
            if row is None or Label.parse(row.label) is None:
                return [], None
            return [block for block in self._blocks() if block.label == row.label], None
        except ProviderError as error:
            return [], error

    def _try(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Answer:
        try:
            return self._api.send(method, path, body)
        except ProviderError as error:
            return Answer(599, {"error": error.message})

    # Keys and access

    def attach_key(self, public_key: str) -> None:
        self._key_id(public_key)

    def _key_id(self, public_key: str) -> str:
        known = self._known_key(public_key)
        if known is not None:
            return known
        try:
            answer = self._api.send(
                "POST", "/ssh-keys", {"name": "ups-console", "ssh_key": public_key.strip()}
            )
            self._api.good(answer, "register the SSH key")
        except UnansweredError:
            pass
        known = self._known_key(public_key)
        if known is None:
            raise ProviderError("Vultr has not registered the SSH key", hint="try again")
        return known

    def _known_key(self, public_key: str) -> str | None:
        wanted = public_key.split()[:2]
        keys = self._api.rows("/ssh-keys", "ssh_keys", SshKey)
        return next((key.id for key in keys if key.ssh_key.split()[:2] == wanted), None)

    def transport(self, instance: str) -> Transport:
        with self._lock:
            row = self._seen.get(instance)
        row = self.get(instance) if row is None or row.ssh is None else self._with_volumes(row)
        if row is None:
            raise ProviderError(f"Vultr has no instance {instance}", hint="`ups-console fleet` lists them")
        if row.ssh is None:
            raise UnreachableError(f"{instance} has no address yet: {row.status}")
        return self._open_transport(row)

    def close(self) -> None:
        """Close the connection that is kept between calls."""
        self._api.close()


def _machine_body(spec: InstanceSpec) -> dict[str, object]:
    """What Vultr is told of a machine, but for the ids that it has to be asked for.

    Raises:
        ProviderError: the offer is not one of Vultr's.
    """
    plan, region = _plan_and_region(spec)
    return {
        "region": region,
        "plan": plan,
        "label": spec.label,
        "tags": ["ups"],
        "enable_ipv6": False,
        "backups": "disabled",
        "activation_email": False,
        **({"enable_vpc": True} if spec.private_network else {}),
    }


def _user_data(spec: InstanceSpec, mount_id: str | None) -> str:
    return user_data(spec.onstart, label=spec.label, mount_id=mount_id, key_only=bool(spec.public_key))


def _volume_body(spec: InstanceSpec) -> dict[str, object]:
    return {
        "region": _plan_and_region(spec)[1],
        "size_gb": max(_LEAST_VOLUME_GB, math.ceil(spec.volume_gb or 0)),
        "label": spec.label + (KEEP_SUFFIX if spec.keep_volume else ""),
        "block_type": "high_perf",
    }


def _plan_and_region(spec: InstanceSpec) -> tuple[str, str]:
    plan, at, region = spec.offer.id.partition("@")
    if not at:
        raise ProviderError(
            f"{spec.offer.id!r} is no offer of Vultr",
            hint="it is PLAN@REGION, as in vcg-a16-6c-64g-16vram@ewr",
        )
    return plan, region


def _gpus(plan: Plan) -> tuple[str, int, float]:
    """Model, number and VRAM in GB of each; a slice counts as one GPU with less VRAM."""
    model = re.sub(r"^(NVIDIA|AMD)[_ ]", "", plan.gpu_type.strip()).replace("_", " ") or "CPU"
    said = str(plan.gpu_count) if plan.gpu_count is not None else ""
    if said.isdecimal() and int(said) > 0:
        count = int(said)
    elif "/" in said:
        count = 1
    else:
        whole = _WHOLE_GPU_GB.get(model.upper(), plan.gpu_vram_gb)
        count = max(1, round(plan.gpu_vram_gb / whole)) if whole else 1
    return model, count, round(plan.gpu_vram_gb / count, 2)


def _hardware(plan: Plan) -> str:
    model, count, vram = _gpus(plan)
    whole = _WHOLE_GPU_GB.get(model.upper(), 0)
    return f"{model} ×{count}" if vram >= whole else f"{model}, a slice of {vram:g} GB"


def _hourly(plan: Plan, region: str) -> float:
    """Dollars an hour, in a region that may have its own price."""
    own = plan.location_cost.get(region) if isinstance(plan.location_cost, dict) else None
    prices = own if isinstance(own, dict) else {}
    hourly = prices.get("hourly_cost", plan.hourly_cost)
    monthly = prices.get("monthly_cost", plan.monthly_cost)
    return float(hourly) if hourly else float(monthly) / HOURS_PER_MONTH


def _state(row: InstanceRow, age_s: float) -> tuple[ProviderState, str]:
    words = f"{row.status}, power {row.power_status or 'unknown'}, system {row.server_status or 'unknown'}"
    if row.status == "suspended":
        return ProviderState.STOPPED, "suspended by Vultr: see my.vultr.com"
    if row.status in ("pending", "resizing"):
        return ProviderState.STARTING, words
    if row.status != "active":
        return ProviderState.UNKNOWN, words
    if row.power_status == "running":
        installing = row.server_status in ("installingbooting", "locked")
        return (ProviderState.STARTING if installing else ProviderState.RUNNING), words
    if row.power_status == "stopped":
        # It is switched off for a moment while it is installed.
        if row.server_status != "ok" and age_s < _INSTALLED_AFTER_S:
            return ProviderState.STARTING, words
        return ProviderState.STOPPED, "switched off: it goes on costing the full price"
    return ProviderState.UNKNOWN, words


def _address(row: InstanceRow) -> SshAddress | None:
    if row.main_ip in ("", "0.0.0.0"):
        return None
    said = (tag.removeprefix(PORT_TAG) for tag in row.tags if tag.startswith(PORT_TAG))
    return SshAddress(row.main_ip, next((int(port) for port in said if port.isdecimal()), 22))


def _seconds(date: str) -> float:
    """Unix seconds; 0 where the date cannot be read, which is no reason to lose sight of what it dates."""
    try:
        when = datetime.fromisoformat(date)
    except ValueError:
        return 0.0
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
