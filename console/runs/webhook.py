"""Alerts to a telephone or a channel: one POST to ntfy or Slack, told apart by the URL.

The URL may hold a secret, and whoever has it can write there: it is in no error, no repr and no log.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPMessage
from typing import IO
from urllib.parse import urlsplit

from console.errors import ProviderError
from console.runs.alerts import Alert, AlertKind

TIMEOUT_S = 5.0
RETRIES = 2
_PAUSE_S = 1.0
_PRIORITY = {AlertKind.END: "3", AlertKind.FAILURE: "4", AlertKind.ORPHAN: "5", AlertKind.BUDGET: "4"}
_TAGS = {
    AlertKind.END: "white_check_mark",
    AlertKind.FAILURE: "x",
    AlertKind.ORPHAN: "money_with_wings",
    AlertKind.BUDGET: "moneybag",
}
"""ntfy's names of emoji."""


class WebhookError(ProviderError):
    """The webhook did not take an alert."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An alert goes where its user said, and nowhere else."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where alerts are posted to."""

    url: str = field(repr=False)
    timeout_s: float = TIMEOUT_S
    sleep: Callable[[float], None] = time.sleep

    @property
    def kind(self) -> str:
        """Slack by its host, or by the path that services compatible with it have; else ntfy."""
        parts = urlsplit(self.url)
        slack = parts.hostname == "hooks.slack.com" or parts.path.startswith("/services/")
        return "Slack" if slack else "ntfy"

    def post(self, alert: Alert) -> None:
        """Send an alert; up to two more times where that may help.

        Raises:
            WebhookError: it did not arrive, or nobody can know.
        """
        for retry in range(RETRIES + 1):
            try:
                self._send(alert)
            except urllib.error.HTTPError as error:
                error.close()
                problem = f"it answers {error.code}"
                if 300 <= error.code < 400:
                    problem = f"it redirects ({error.code}), which is not followed"
                if error.code < 500 and error.code != 429:
                    break
            except (OSError, HTTPException, ValueError) as error:
                problem = _in_words(error)
            else:
                return
            if retry < RETRIES:
                self.sleep(_PAUSE_S * 2**retry)
        raise WebhookError(
            f"the {self.kind} webhook did not take {alert.title!r}: {problem}",
            hint="notify.webhook in config.toml, or UPS_WEBHOOK, says where it is",
        )

    def _send(self, alert: Alert) -> None:
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(self._request(alert), timeout=self.timeout_s) as answer:
            answer.read(1)

    def _request(self, alert: Alert) -> urllib.request.Request:
        if self.kind == "Slack":
            body = json.dumps({"text": f"*{alert.title}*\n{alert.text}"}).encode()
            headers = {"Content-Type": "application/json"}
        else:
            body = alert.text.encode()
            headers = {
                "Content-Type": "text/plain; charset=utf-8",
                "Title": alert.title.encode("ascii", "replace").decode(),
                "Priority": _PRIORITY[alert.kind],
                "Tags": _TAGS[alert.kind],
            }
        return urllib.request.Request(self.url, body, headers, method="POST")


def _in_words(error: Exception) -> str:
    """Why, without the URL: a library may have put it into its message."""
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, TimeoutError):
        return "it does not answer in time"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return type(reason).__name__
