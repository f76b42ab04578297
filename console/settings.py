"""Settings of the console, and where each came from: flag, environment, `.env`, config.toml, default."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console.home import Home
from console.storage import StorageTerms
from ups.errors import ConfigError

DEFAULT_CAP_USD_PER_DAY = 25.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operations need to know beyond the home."""

    store_url: str
    store_origin: str
    cap_usd_per_day: float
    theme: str | None
    keymap: Mapping[str, str]
    """Binding id → keys."""
    storage: StorageTerms
    """What a bucket costs."""

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
    store = variables.get("UPS_STORE")
    theme = content.get("theme")
    return Settings(
        store_url=store or f"dir:{home.store}",
        store_origin="UPS_STORE" if store else "default",
        cap_usd_per_day=float(cap),
        theme=str(theme) if theme else None,
        keymap={str(k): str(v) for k, v in _section(content, "keymap", home.config).items()},
        storage=StorageTerms.parse(_section(content, "storage", home.config), str(home.config)),
    )


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
