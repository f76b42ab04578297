"""`box.json`, as the box's watchdog reads it: what a rented box is for, and how it ends.

The file is 0600 and lies in the box's directory. It names where keys are and holds none.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

BOX_FILE = "box.json"
MARKER = "UPS_INSTANCE"
MAX_FAILURES = 3


@dataclass(frozen=True, slots=True)
class Destruction:
    """How the watchdog ends the machine."""

    kind: Literal["vast", "halt", "none"]
    """`vast`: DELETE with the instance's own key. `halt`: it halts and still bills. `none`: processes end."""
    url: str = ""
    """The provider's API, without a path."""
    id: str = ""
    """The provider's id of the instance."""
    key_file: str | None = None
    """Relative to the box's directory, or absolute."""
    key_environment: str | None = None


@dataclass(frozen=True, slots=True)
class BoxFile:
    """The content of `box.json`. All times in Unix seconds by this machine's clock, money in dollars."""

    label: str
    deadline: float
    grace_s: float
    """The box stays so long after its run, for its files to be fetched."""
    destroy: Destruction
    run_dir: str | None = None
    """Absolute on the box, or relative to its directory; None before there is a run."""
    lease_s: float | None = None
    """The box ends when nothing was achieved for so long."""
    cap_usd: float | None = None
    """None, or nothing above zero: no cap."""
    usd_per_hour: float = 0.0
    started: float = 0.0
    """Since when it costs money."""
    hold_on_failure_s: float = 0.0
    """After a failure it stays so long, if that is longer than the grace."""
    max_failures: int | None = MAX_FAILURES
    """So many failed runs in a row end the box without grace; None: any number may."""
    stop_s: float | None = None
    """A run may take so long to save and stop; None: the watchdog's own choice."""
    sync_argv: Sequence[str] = ()
    """Brings what there is to safety before the end; `{run_dir}` in it is replaced. Empty: nothing is."""
    sync_limit_s: float = 900.0
    sync_environment_file: str | None = None
    """A JSON object of variables on the box, 0600: the store's keys."""

    def render(self, written: float) -> bytes:
        """The file's bytes.

        Args:
            written: now, in Unix seconds: by it the box knows how far its clock is off.
        """
        sync = {
            "argv": list(self.sync_argv),
            "limit_s": self.sync_limit_s,
            "environment_file": self.sync_environment_file,
        }
        destroy = self.destroy
        content = {
            "label": self.label,
            "written": written,
            "deadline": self.deadline,
            "grace_s": self.grace_s,
            "marker": f"{MARKER}={self.label}",
            "run_dir": self.run_dir,
            "lease_s": self.lease_s,
            "cap_usd": self.cap_usd,
            "usd_per_hour": self.usd_per_hour,
            "started": self.started,
            "hold_on_failure_s": self.hold_on_failure_s,
            "max_failures": self.max_failures,
            "stop_s": self.stop_s,
            "sync": sync if self.sync_argv else None,
            "destroy": {
                "kind": destroy.kind,
                "url": destroy.url,
                "id": destroy.id,
                "key_file": destroy.key_file,
                "key_environment": destroy.key_environment,
            },
        }
        return json.dumps(content, indent=1).encode() + b"\n"


def changed(content: bytes, written: float, **changes: Any) -> bytes:
    """A `box.json` with some of its fields set anew, which renews the lease.

    Raises:
        ValueError: `content` is no such file.
    """
    record = json.loads(content)
    if not isinstance(record, dict):
        raise ValueError("box.json holds no object")
    if "written" in record:  # a box of this machine shares its clock
        record["written"] = written
    return json.dumps({**record, **changes}, indent=1).encode() + b"\n"
