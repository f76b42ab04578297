"""Settings of the console, and where each came from: flag, environment, `.env`, config.toml, default."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from console.home import Home
from console.storage import StorageTerms
from ups.errors import ConfigError

DEFAULT_CAP_USD_PER_DAY = 25.0
_STORE_VARIABLES = (
    "B2_KEY_ID", "B2_APP_KEY", "B2_S3_ENDPOINT", "B2_S3_REGION",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION",
    "UPS_BANDWIDTH", "UPS_SCRATCH",
)  # fmt: skip
"""What `ups.store.open_store` reads from an environment."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operations need to know beyond the home."""

    store_url: str
    store_origin: str
    """What names the store: a variable, or the default."""
    cap_usd_per_day: float
    theme: str | None
    keymap: Mapping[str, str]
    """Binding id → keys."""
    storage: StorageTerms
    """What a bucket costs."""
    store_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What opens the store, keys among it, for other processes: by their environment, never an argument."""
    warnings: tuple[str, ...] = ()

    @property
    def store_terms(self) -> StorageTerms | None:
        """What the store costs; None of a directory, which costs nothing."""
        return None if self.store_url.startswith("dir:") else self.storage


def read_settings(home: Home, *, environment: Mapping[str, str] | None = None) -> Settings:
    """Gather the settings.

    Raises:
        ConfigError: config.toml is not TOML, or a value has the wrong type.
    """
    variables = {**read_dotenv(Path(".env")), **(os.environ if environment is None else environment)}
    content = _read_toml(home.config)
    caps = _section(content, "caps", home.config)
    cap = caps.get("usd_per_day", DEFAULT_CAP_USD_PER_DAY)
    if not isinstance(cap, int | float) or isinstance(cap, bool) or cap < 0:
        raise ConfigError(f"{home.config}: caps.usd_per_day must be a number of dollars, not {cap!r}")
    store, origin = _store(home, variables)
    theme = content.get("theme")
    return Settings(
        store_url=store,
        store_origin=origin,
        cap_usd_per_day=float(cap),
        theme=str(theme) if theme else None,
        keymap={str(k): str(v) for k, v in _section(content, "keymap", home.config).items()},
        storage=StorageTerms.parse(_section(content, "storage", home.config), str(home.config)),
        store_environment={name: variables[name] for name in _STORE_VARIABLES if variables.get(name)},
        warnings=tuple(_lone_keys(store, variables)),
    )


def _store(home: Home, variables: Mapping[str, str]) -> tuple[str, str]:
    """The URL of the store, and what says so."""
    if store := variables.get("UPS_STORE"):
        return store, "UPS_STORE"
    if bucket := variables.get("B2_BUCKET"):
        return f"s3://{bucket}/{variables.get('B2_PREFIX', '').strip('/')}".rstrip("/"), "B2_BUCKET"
    return f"dir:{home.store}", "default"


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


def read_dotenv(path: Path) -> dict[str, str]:
    """The assignments of an `.env` file; it is parsed, never executed.

    Understands `export`, single and double quotes, comments, blank lines and CRLF.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        return {}
    found = {}
    for line in lines:
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        name, value = name.strip(), value.strip()
        if not separator or name.startswith("#") or not name.isidentifier():
            continue
        if value[:1] in {'"', "'"} and value[0] in value[1:]:
            value = value[1 : value.index(value[0], 1)]
        else:
            value = value.split(" #", 1)[0].rstrip()
        found[name] = value
    return found
