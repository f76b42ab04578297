"""What calls for a person, and telling it where the console is not seen."""

import time
from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING

from console.context import Context
from console.fleet.model import InstanceKind

if TYPE_CHECKING:
    from console.fleet.reconcile import Survey
    from console.runs.alerts import Alert
    from console.runs.announcing import Announcer


class AttentionOperations(Context):
    """Over the ledger, the mirrors and what the providers said last."""

    _last_survey: "Survey | None" = None
    """What the providers said last; replaced whole, so that threads may read it."""

    def alerts(self, known: Collection[str] = ()) -> "list[Alert]":
        """Runs that ended or failed, orphans, and caps that are used up.

        Args:
            known: keys of alerts to leave out.
        """
        from console.runs.alerts import alerts

        sightings = self._last_survey.sightings if self._last_survey is not None else []
        return alerts(
            self.ledger.entries(),
            self.registry,
            orphans=[s.remote for s in sightings if s.kind is InstanceKind.ORPHAN and s.remote is not None],
            cap_day_usd=self.settings.cap_usd_per_day,
            now=time.time(),
            known=known,
        )

    @cached_property
    def announcer(self) -> "Announcer":
        """Posts alerts to the webhook, each once over all processes of this home."""
        from console.runs.announcing import Announced, Announcer
        from console.runs.webhook import Webhook

        url = self.settings.notify.webhook
        return Announcer(
            Announced(self.home.announced),
            self.home.locks / "announcing.lock",
            Webhook(url) if url else None,
        )
