"""What every operation works on: the home, its settings, ledger, runs, store and providers.

Heavy modules are imported where they are used: opening the console must be quick.
"""

from functools import cached_property
from typing import TYPE_CHECKING, Any

from console.api import KILOBYTES, Progress
from ups.errors import UsageError

if TYPE_CHECKING:
    from console.fleet.ledger import Entry, Ledger
    from console.fleet.providers.base import Provider
    from console.home import Home
    from console.runs.registry import Registry
    from console.runs.teardown import Teardown
    from console.settings import Settings
    from ups.store import ObjectStore


class Context:
    """One home, opened piece by piece as it is needed; may be shared by threads."""

    def __init__(self, home: "Home") -> None:
        self.home = home

    @cached_property
    def settings(self) -> "Settings":
        from console.settings import read_settings

        return read_settings(self.home)

    @cached_property
    def ledger(self) -> "Ledger":
        from console.fleet.ledger import Ledger

        return Ledger(self.home.ledger)

    @cached_property
    def registry(self) -> "Registry":
        from console.runs.registry import Registry

        return Registry(self.home.runs)

    def store(self) -> "ObjectStore":
        from ups.store import open_store

        return open_store(self.settings.store_url, self.settings.store_environment)

    @cached_property
    def providers(self) -> "dict[str, Provider]":
        """The configured providers by name."""
        from console.fleet.providers.local import LocalProvider

        local: Provider = LocalProvider(self.home.instances)
        return {local.name: local}

    def provider(self, name: str) -> "Provider":
        """Raises UsageError where no such provider is available."""
        try:
            return self.providers[name]
        except KeyError:
            known = ", ".join(self.providers)
            raise UsageError(f"provider {name!r} is not available", hint=f"available: {known}") from None

    def teardown_of(self, entry: "Entry") -> "Teardown":
        from console.runs.teardown import Teardown

        provider = self.provider(entry.provider)
        return Teardown(self.ledger, self.registry, provider, self.home.locks, self.store)

    def remote(self, arguments: list[str], progress: Progress | None) -> "tuple[dict[str, Any], list[str]]":
        """The last record of `python -m remote ARGUMENTS`, and its warnings."""
        from console.runs import runtime

        warnings: list[str] = []

        def on_record(record: dict[str, Any]) -> None:
            if record.get("type") == "warning":
                warnings.append(str(record.get("message")))
            elif progress is not None and record.get("type") == "progress":
                _pass_on(record, progress)

        environment = self.settings.store_environment
        return runtime.call(arguments, on_record, environment=environment), warnings


def _pass_on(record: "dict[str, Any]", progress: Progress) -> None:
    """Tell of a `progress` record; bytes as kilobytes, which people can read."""
    what, done, total = str(record.get("task") or record.get("phase")), record["done"], record["total"]
    if record.get("unit") == "bytes":
        what, done, total = f"{what}{KILOBYTES}", -(-done // 1000), -(-total // 1000)
    progress(what, done, total)
