"""Settings of the console, and where each came from: flag, environment, `.env`, config.toml, default."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from console.fleet.model import ANY_MACHINE, OfferQuery
from console.home import Home
from console.storage import StorageTerms
from ups.errors import ConfigError
from ups.variables import Variables
from ups.wandb_terms import VARIABLES as _WANDB_VARIABLES

DEFAULT_CAP_USD_PER_DAY = 25.0
RENTING = ("vast", "vultr")
"""Providers that need an account: `{NAME}_API_KEY`, and `{NAME}_URL` where it is not the provider's own."""
PACE_VARIABLE = "UPS_FLEET_PACE"
"""For tests and demonstrations against a simulator; refused where an account is a real one."""
WEBHOOK_VARIABLE = "UPS_WEBHOOK"
_STORE_VARIABLES = (
    "B2_KEY_ID", "B2_APP_KEY", "B2_S3_ENDPOINT", "B2_S3_REGION",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION",
    "UPS_BANDWIDTH", "UPS_SCRATCH",
)  # fmt: skip
"""What `ups.store.open_store` reads from an environment."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account at a provider."""

    key: str = field(repr=False)
    url: str | None
    """Of its API; None: the provider's own."""


@dataclass(frozen=True, slots=True)
class BoxTerms:
    """How a rented box is set up, where the defaults do not fit."""

    workdir: str = "/workspace/ups"
    """Boxes live below it, each in a directory of its own."""
    python: str | None = None
    """The interpreter whose torch is inherited; None: the image's is looked for."""
    device: str | None = None
    """`cpu` allows a box without a GPU."""


@dataclass(frozen=True, slots=True)
class NotifyTerms:
    """How a person is called who does not look."""

    webhook: str | None = field(default=None, repr=False)
    """Of ntfy or Slack; its URL may hold a secret."""
    terminal: bool = True
    """Ring the terminal's bell, and send it a notification for the desktop."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operations need to know beyond the home."""

    store_url: str
    store_origin: str
    """What names the store: a variable, or the default."""
    cap_usd_per_day: float
    storage: StorageTerms
    """What a bucket costs."""
    store_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What opens the store, keys among it, for other processes: by their environment, never an argument."""
    accounts: Mapping[str, Account] = field(default_factory=dict)
    """Provider → the account that was configured for it."""
    offers: OfferQuery = ANY_MACHINE
    """What the Launch screen asks the providers for, until its user says otherwise."""
    box: BoxTerms = BoxTerms()
    box_store_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What opens the store for a rented box: the narrower key, where one is given."""
    wandb_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What says where, and with which key, runs report to Weights & Biases."""
    notify: NotifyTerms = NotifyTerms()
    fleet_pace: float = 1.0
    """Every interval and patience of the fleet times this; below 1 where all accounts are simulated only."""
    warnings: tuple[str, ...] = ()
    variables: Variables = field(default_factory=Variables, repr=False)
    """All variables that are set, and where each was found."""

    @property
    def store_terms(self) -> StorageTerms | None:
        """What the store costs; None of a directory, which costs nothing."""
        return None if self.store_url.startswith("dir:") else self.storage


def read_settings(home: Home, *, environment: Mapping[str, str] | None = None) -> Settings:
    """Gather the settings.

    Raises:
        ConfigError: config.toml is not TOML, or a value has the wrong type; a line of `.env` is malformed.
        NotFoundError: the file that `ENV_FILE` names is not there.
    """
    variables = Variables.gather(environment)
    content = _read_toml(home.config)
    caps = _section(content, "caps", home.config)
    cap = caps.get("usd_per_day", DEFAULT_CAP_USD_PER_DAY)
    if not isinstance(cap, int | float) or isinstance(cap, bool) or cap < 0:
        raise ConfigError(f"{home.config}: caps.usd_per_day must be a number of dollars, not {cap!r}")
    store, origin = _store(home, variables)
    accounts = dict(_accounts(variables))
    opening = {name: variables[name] for name in _STORE_VARIABLES if variables.get(name)}
    return Settings(
        store_url=store,
        store_origin=origin,
        cap_usd_per_day=float(cap),
        storage=StorageTerms.parse(_section(content, "storage", home.config), str(home.config)),
        store_environment=opening,
        accounts=accounts,
        offers=_offers(_section(content, "offers", home.config), home.config),
        box=BoxTerms(
            workdir=variables.get("UPS_REMOTE_WORKDIR") or BoxTerms().workdir,
            python=variables.get("UPS_REMOTE_PYTHON") or None,
            device=variables.get("UPS_REMOTE_DEVICE") or None,
        ),
        box_store_environment={**opening, **_box_key(variables)},
        wandb_environment={name: variables[name] for name in _WANDB_VARIABLES if variables.get(name)},
        notify=_notify(_section(content, "notify", home.config), variables, home.config),
        fleet_pace=_fleet_pace(variables.get(PACE_VARIABLE, ""), accounts),
        warnings=tuple(_lone_keys(store, variables)),
        variables=variables,
    )


def _store(home: Home, variables: Mapping[str, str]) -> tuple[str, str]:
    """The URL of the store, and what says so."""
    if store := variables.get("UPS_STORE"):
        return store, "UPS_STORE"
    if bucket := variables.get("B2_BUCKET"):
        return f"s3://{bucket}/{variables.get('B2_PREFIX', '').strip('/')}".rstrip("/"), "B2_BUCKET"
    return f"dir:{home.store}", "default"


def _offers(section: Mapping[str, Any], path: Path) -> OfferQuery:
    """The table [offers]: the fields of `OfferQuery`."""
    if not section:
        return ANY_MACHINE
    from pydantic import TypeAdapter, ValidationError

    known = [option.name for option in fields(OfferQuery)]
    for name in section:
        if name not in known:
            raise ConfigError(f"{path}: offers.{name} is unknown", hint=f"there are: {', '.join(known)}")
    try:
        return TypeAdapter(OfferQuery).validate_python(dict(section))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: offers.{where}: {first['msg']}") from None


def _notify(section: Mapping[str, Any], variables: Mapping[str, str], path: Path) -> NotifyTerms:
    """The table [notify]; `UPS_WEBHOOK` goes before its URL. No error shows the URL."""
    for name in section:
        if name not in ("webhook", "terminal"):
            raise ConfigError(f"{path}: notify.{name} is unknown", hint="there are: webhook, terminal")
    terminal = section.get("terminal", True)
    if not isinstance(terminal, bool):
        raise ConfigError(f"{path}: notify.terminal must be true or false, not {terminal!r}")
    given = variables.get(WEBHOOK_VARIABLE, "").strip()
    url = given or section.get("webhook") or None
    if url is not None and not _is_web(url):
        where = WEBHOOK_VARIABLE if given else f"{path}: notify.webhook"
        raise ConfigError(f"{where} must be the http(s) URL of an ntfy topic or a Slack webhook")
    return NotifyTerms(url, terminal)


def _is_web(url: object) -> bool:
    try:
        parts = urlsplit(url) if isinstance(url, str) and url.isascii() and url.isprintable() else None
        return (
            parts is not None
            and parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and " " not in str(url)
        )
    except ValueError:
        return False


def _accounts(variables: Mapping[str, str]) -> Iterator[tuple[str, Account]]:
    for provider in RENTING:
        if key := variables.get(f"{provider.upper()}_API_KEY", "").strip():
            yield provider, Account(key, variables.get(f"{provider.upper()}_URL", "").rstrip("/") or None)


def _fleet_pace(value: str, accounts: Mapping[str, Account]) -> float:
    """The factor; quick looks prove little, so that no real provider is judged by them.

    Raises:
        ConfigError: it is none, or an account is not on loopback.
    """
    if not value.strip():
        return 1.0
    try:
        pace = float(value)
    except ValueError:
        pace = 0.0
    if not 0.0 < pace <= 1.0:
        raise ConfigError(f"{PACE_VARIABLE} must be a factor above 0 and at most 1, not {value!r}")
    real = [name for name, account in accounts.items() if not _is_loopback(account.url)]
    if pace < 1.0 and real:
        raise ConfigError(
            f"{PACE_VARIABLE} is for simulated providers on this machine, and {', '.join(real)} is not one",
            hint=f"unset {PACE_VARIABLE}",
        )
    return pace


def _is_loopback(url: str | None) -> bool:
    try:
        host = urlsplit(url or "").hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _box_key(variables: Mapping[str, str]) -> dict[str, str]:
    """A key for boxes alone, which may be bound to a prefix."""
    names = {"UPS_BOX_B2_KEY_ID": "B2_KEY_ID", "UPS_BOX_B2_APP_KEY": "B2_APP_KEY"}
    found = {name: variables[given] for given, name in names.items() if variables.get(given)}
    if len(found) == 1:
        raise ConfigError("UPS_BOX_B2_KEY_ID and UPS_BOX_B2_APP_KEY belong together; one is missing")
    return found


def _lone_keys(store: str, variables: Mapping[str, str]) -> Iterator[str]:
    """A key opens no bucket that nobody names."""
    keys = [name for name in ("B2_KEY_ID", "B2_APP_KEY") if variables.get(name)]
    if keys and not store.startswith("s3:"):
        yield f"{' and '.join(keys)} set, but no bucket: the store is {store}; set B2_BUCKET or UPS_STORE"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: {error}", hint="mend it, or delete it: every key is optional") from None


def _section(content: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    section = content.get(name, {})
    if not isinstance(section, dict):
        raise ConfigError(f"{path}: {name} must be a table, [{name}]")
    return section
