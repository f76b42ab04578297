"""The home, `$UPS_HOME`: where the console keeps its ledger, mirrors, boxes and embedded store."""

import os
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below the home; nothing is created until it is needed."""

    root: Path

    @classmethod
    def default(cls) -> "Home":
        configured = os.environ.get("UPS_HOME")
        return cls(Path(configured).expanduser() if configured else user_data_path("ups-console"))

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.db"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def instances(self) -> Path:
        return self.root / "instances"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def configs(self) -> Path:
        """The user's own configs: what the gates of a run wrote, and anything put there."""
        return self.root / "configs"

    @property
    def locks(self) -> Path:
        return self.root / "cache" / "locks"

    @property
    def wheels(self) -> Path:
        """The runtimes that were shipped; a resumed run asks for its own."""
        return self.root / "cache" / "wheels"

    @property
    def watch_lock(self) -> Path:
        """Held by the detached guard."""
        return self.locks / "watch.lock"

    @property
    def watch_log(self) -> Path:
        return self.root / "watch.log"

    @property
    def watch_pid(self) -> Path:
        """Which process the guard is."""
        return self.root / "cache" / "watch.pid"

    @property
    def manifests(self) -> Path:
        """What was last read of each store; may be deleted at any time."""
        return self.root / "cache" / "manifests"

    @property
    def downloads(self) -> Path:
        """Raw files, until they are converted."""
        return self.root / "cache" / "raw"

    @property
    def announced(self) -> Path:
        """Which alerts were told."""
        return self.root / "announced.json"

    @property
    def keys(self) -> Path:
        """The console's own SSH key."""
        return self.root / "keys"

    @property
    def known_hosts(self) -> Path:
        """What each rented box has shown as its host key."""
        return self.root / "known_hosts"
