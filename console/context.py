"""What every operation works on: the home, its settings, ledger, runs, store and providers.

Heavy modules are imported where they are used: opening the console must be quick.
"""

from functools import cached_property
from typing import TYPE_CHECKING, Any

from console.api import KILOBYTES, Progress
from ups.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from console.fleet.ledger import Entry, Ledger
    from console.fleet.providers.base import Provider
    from console.home import Home
    from console.runs.doors import Doors
    from console.runs.registry import Registry
    from console.runs.sites import Site
    from console.runs.teardown import Teardown
    from console.settings import Account, Settings
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
        """The configured providers by name: this machine, and those with an account."""
        from console.fleet.providers.local import LocalProvider

        found: dict[str, Provider] = {"local": LocalProvider(self.home.instances)}
        for name, account in self.settings.accounts.items():
            found[name] = self._rented(name, account)
        return found

    def _rented(self, name: str, account: "Account") -> "Provider":
        pace = self.settings.fleet_pace
        if name == "vast":
            from console.fleet.providers.vast import URL as VAST
            from console.fleet.providers.vast import VastProvider

            return VastProvider(account.key, account.url or VAST, open_transport=self.doors.open, pace=pace)
        from console.fleet.providers.vultr import VultrProvider
        from console.fleet.providers.vultr_api import URL

        return VultrProvider(account.key, account.url or URL, open_transport=self.doors.open, pace=pace)

    @cached_property
    def doors(self) -> "Doors":
        """The way into rented boxes."""
        from console.runs.doors import Doors

        return Doors(self.home, self.settings.box, self.ledger.console_id)

    def provider(self, name: str) -> "Provider":
        """The provider of that name.

        Raises:
            LoginError: it needs an account, and none is configured.
            UsageError: there is no such provider.
        """
        from console.errors import LoginError
        from console.settings import RENTING

        if name in self.providers:
            return self.providers[name]
        if name in RENTING:
            variable = f"{name.upper()}_API_KEY"
            raise LoginError(f"no account at {name} is configured",
                             hint=f"set {variable} in the environment or in .env")  # fmt: skip
        raise UsageError(f"there is no provider {name!r}", hint=f"there are: local, {', '.join(RENTING)}")

    def site(self, provider: str) -> "Site":
        """Where runs land at that provider; raises like `provider`."""
        from console.runs.local_site import LocalSite
        from console.runs.rented_site import RentedSite

        found = self.provider(provider)
        if not found.capabilities.rented:
            return LocalSite(found, self.settings, self.registry)
        return RentedSite(found, self.settings, self.doors, self.home, self.ledger)

    def start_guard(self) -> None:
        """Have a detached guard that watches what is rented, also when this console is gone.

        Raises:
            StoreError: it did not start; nothing may be rented then.
        """
        from console.fleet.watch import start_detached

        start_detached(self.home.root, self.home.watch_lock, self.home.watch_log)

    def teardown_of(self, entry: "Entry") -> "Teardown":
        from console.runs.teardown import Teardown

        provider = self.provider(entry.provider)
        return Teardown(self.ledger, self.registry, provider, self.home.locks, self.store)

    def remote(
        self,
        arguments: list[str],
        progress: Progress | None,
        *,
        environment: "Mapping[str, str] | None" = None,
    ) -> "tuple[dict[str, Any], list[str]]":
        """The last record of `python -m remote ARGUMENTS`, and its warnings.

        Args:
            arguments: the subcommand and its options.
            progress: told what is being done.
            environment: of the process beyond this one's; None: what opens the store.
        """
        from console.runs import runtime

        warnings: list[str] = []

        def on_record(record: dict[str, Any]) -> None:
            if record.get("type") == "warning":
                warnings.append(str(record.get("message")))
            elif progress is not None and record.get("type") == "progress":
                pass_on(record, progress)

        given = self.settings.store_environment if environment is None else environment
        return runtime.call(arguments, on_record, environment=given), warnings


def pass_on(record: "Mapping[str, Any]", progress: Progress) -> None:
    """Tell of a `progress` record or event; bytes as kilobytes, which people can read."""
    what, done, total = str(record.get("task") or record.get("phase")), record["done"], record["total"]
    if record.get("unit") == "bytes":
        what, done, total = f"{what}{KILOBYTES}", -(-done // 1000), -(-total // 1000)
    progress(what, done, total)
