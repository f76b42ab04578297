"""`ups-console doctor`: what is configured, and whether it works."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from console.api import Check, Level
from ups.errors import UpsError

if TYPE_CHECKING:
    from console.operations import Operations


def examine(operations: "Operations") -> list[Check]:
    """One check after another; a failed one hides none of the others."""
    checks: list[Check] = []
    for examination in (_home, _store, _runtime, _accounts, _instances):
        try:
            checks.extend(examination(operations))
        except UpsError as error:
            checks.append(Check(Level.FAILED, error.message, error.hint, error.code))
    return checks


def _home(operations: "Operations") -> Iterator[Check]:
    from ups.store import free_bytes

    operations.registry.check_writable()
    free = free_bytes(operations.home.root)
    yield Check(Level.OK, f"home {operations.home.root}, {free / 2**30:.0f} GB free")
    yield Check(Level.OK, f"caps: ${operations.settings.cap_usd_per_day:.2f} a day")
    if operations.settings.notify.webhook:
        from console.runs.webhook import Webhook

        yield Check(Level.OK, f"alerts go to the {Webhook(operations.settings.notify.webhook).kind} webhook")
    for warning in operations.settings.warnings:
        yield Check(Level.WARNING, warning)


def _store(operations: "Operations") -> Iterator[Check]:
    rows = [row for row in operations.datasets() if row.state != "missing"]
    settings = operations.settings
    yield Check(Level.OK, f"store {settings.store_url} (from {settings.store_origin}): {len(rows)} datasets")
    for row in rows:
        if row.state != "verified":
            yield Check(Level.WARNING, f"{row.task} is {row.state}: {row.note}")


def _runtime(operations: "Operations") -> Iterator[Check]:
    from console.runs.runtime import missing_modules

    missing = missing_modules()
    if missing:
        yield Check(Level.WARNING, f"not installed here: {', '.join(missing)}",
                    "pip install 'ups-console[train]' to train on this machine")  # fmt: skip
    else:
        yield Check(Level.OK, "the runtime is installed: this machine can train")


def _accounts(operations: "Operations") -> Iterator[Check]:
    """Each provider that needs an account: whether there is one, and whether it is accepted."""
    from console.settings import RENTING

    missing = [name for name in RENTING if name not in operations.providers]
    for name, provider in operations.providers.items():
        if not provider.capabilities.rented:
            continue
        try:
            balance = provider.balance()
        except UpsError as error:
            yield Check(Level.FAILED, f"{name}: {error.message}", error.hint, error.code)
            continue
        left = "" if balance is None else f", ${balance:.2f} left"
        enough = balance is None or balance > 0
        yield Check(Level.OK if enough else Level.WARNING, f"{name}: the key is accepted{left}")
    if missing:
        variables = " or ".join(f"{name.upper()}_API_KEY" for name in missing)
        yield Check(Level.OK, f"no account at {', '.join(missing)}", f"{variables} configures one")


def _instances(operations: "Operations") -> Iterator[Check]:
    money = operations.money()
    text = f"{money.running} living instances, ${money.usd_per_hour:.2f}/h, ${money.usd_today:.2f} today"
    yield Check(Level.OK, text)
    if money.orphans:
        yield Check(Level.WARNING, f"{money.orphans} orphans", "`ups-console fleet` shows them")
