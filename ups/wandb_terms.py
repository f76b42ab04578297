"""Whether a run reports to Weights & Biases, and to which project: the config, and what the environment says.

Free of torch and of wandb: the console tells it before anything is paid for, the run goes by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ups.config import Wandb

KEY_VARIABLE = "WANDB_API_KEY"
VARIABLES = (KEY_VARIABLE, "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_RUN_GROUP")
"""What a box has to know of W&B."""
_ONLINE = ("", "online", "run", "shared")
_OFFLINE = ("offline", "dryrun")


class Mode(StrEnum):
    """Where a run's metrics go."""

    ONLINE = "online"
    OFFLINE = "offline"
    """To files, which are sent later."""
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Terms:
    """How a run reports."""

    mode: Mode
    reason: str
    """Why it is not online; else empty."""
    project: str
    entity: str | None
    """None: the account's default."""

    @property
    def where(self) -> str:
        return f"{self.entity}/{self.project}" if self.entity else self.project


def terms_of(config: "Wandb", environment: Mapping[str, str]) -> Terms:
    """What the config asks for, as far as the environment allows it."""

    def given(name: str) -> str:
        return environment.get(name, "").strip()

    mode, reason = _mode(config, given("WANDB_MODE").lower(), bool(given(KEY_VARIABLE)))
    return Terms(
        mode, reason, given("WANDB_PROJECT") or config.project, given("WANDB_ENTITY") or config.entity or None
    )


def _mode(config: "Wandb", asked: str, has_key: bool) -> tuple[Mode, str]:
    if not config.enabled:
        return Mode.DISABLED, "logging.wandb.enabled is false"
    if asked == "disabled":
        return Mode.DISABLED, "WANDB_MODE is disabled"
    if asked in _OFFLINE:
        return Mode.OFFLINE, f"WANDB_MODE is {asked}"
    if asked not in _ONLINE:
        return Mode.OFFLINE, f"WANDB_MODE is {asked!r}, not online, offline or disabled"
    if not has_key:
        return Mode.OFFLINE, f"there is no {KEY_VARIABLE}"
    return Mode.ONLINE, ""
