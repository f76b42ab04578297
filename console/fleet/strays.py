"""Block volumes whose instance is gone: nobody needs them, and they go on costing."""

from collections.abc import Callable, Iterable, Mapping

from console.fleet.ledger import Entry, Ledger
from console.fleet.model import Label, Volume
from console.fleet.providers.base import Provider
from ups.errors import NotFoundError, UpsError


def is_stray(volume: Volume, entries: Mapping[str, Entry], console_id: str, now: float) -> bool:
    """Whether a volume of this console may be deleted.

    One that is to outlive its instance has a label that is no instance's label, and is never a stray. One
    of which the ledger knows nothing may belong to a create that is under way elsewhere, until its deadline.
    """
    label = Label.parse(volume.label)
    if label is None or label.console_id != console_id or volume.instance is not None:
        return False
    entry = entries.get(volume.label)
    return now > label.deadline if entry is None else not entry.living


def delete_strays(ledger: Ledger, providers: Iterable[Provider], say: Callable[[str], None]) -> int:
    """Delete what is stray at the providers that have volumes; how many went. Raises nothing."""
    deleted = 0
    for provider in providers:
        if not provider.capabilities.volumes:
            continue
        try:
            volumes = provider.volumes()
        except UpsError as error:
            say(f"! {provider.name}'s volumes cannot be listed: {error.message}")
            continue
        entries = {entry.label: entry for entry in ledger.entries()}
        for volume in volumes:
            if is_stray(volume, entries, ledger.console_id, ledger.now()):
                say(f"deleting the volume {volume.id} ({volume.label}): its instance is gone")
                deleted += delete_volume(provider, volume, say)
    return deleted


def delete_volume(provider: Provider, volume: Volume, say: Callable[[str], None]) -> bool:
    """Delete a volume; whether it went. Raises nothing: what went wrong is said."""
    try:
        provider.delete_volume(volume.id)
    except NotFoundError:
        return False
    except UpsError as error:
        say(f"! the volume {volume.id} was not deleted, and costs: {error.message}")
        return False
    return True
