"""Alerts: what calls for a person, told to a webhook once, and never holding anything up."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from console.fleet.ledger import Entry
from console.fleet.model import InstanceState, Label, ProviderState, RemoteInstance
from console.home import Home
from console.operations import Operations
from console.runs.alerts import Alert, AlertKind, alerts
from console.runs.announcing import Announced, Announcer
from console.runs.registry import Registry
from console.runs.webhook import Webhook, WebhookError
from console.settings import read_settings
from tests.console.recorded import record
from ups.errors import ConfigError

SECRET = "T0p/s3cret"


@dataclass
class Receiver:
    """A web server that takes alerts, or does worse."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    """Status codes, in turn; then 200 for ever. 0: no answer at all."""
    taken: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    """(path, headers, body) of each request."""
    go_on: threading.Event = field(default_factory=threading.Event)


@contextmanager
def receiver(*answers: int) -> Iterator[Receiver]:
    told = Receiver(answers=list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            told.taken.append((self.path, dict(self.headers), body))
            code = told.answers.pop(0) if told.answers else 200
            if code == 0:
                told.go_on.wait(10)
                self.close_connection = True
                return
            self.send_response(code)
            if 300 <= code < 400:
                self.send_header("Location", f"{told.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield told
    finally:
        told.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


def alert(key: str = "run 1124-aaaa 1", kind: AlertKind = AlertKind.END) -> Alert:
    return Alert(key, kind, "run 1124-aaaa succeeded", "$0.25 on RTX 4090, ν = 0.1")


def entry(run: str, **changes: object) -> Entry:
    values: dict[str, object] = {
        "label": f"ups-me-{run}-9", "provider": "vast", "provider_id": "18342", "what": "RTX 4090",
        "state": InstanceState.RUNNING, "run": run, "attempt": 1, "usd_per_hour": 0.3, "cap_usd": 0.0,
        "keep": False, "created": 1000.0, "ended": None, "deadline": 9e9,
    }  # fmt: skip
    return Entry(**{**values, **changes})  # type: ignore[arg-type]


class TestAlerts:
    def look(
        self, home: Home, *entries: Entry, cap: float = 25.0, known: tuple[str, ...] = ()
    ) -> list[Alert]:
        return alerts(entries, Registry(home.runs), orphans=[], cap_day_usd=cap, now=time.time(), known=known)

    def test_a_run_that_goes_on_is_no_news_and_one_that_ended_is(self, tmp_path: Path) -> None:
        home = Home(tmp_path)
        record(home, "1124-aaaa", "local_2task", 0.1)
        free = {"usd_per_hour": 0.0}
        found = self.look(home, entry("1124-aaaa", **free), entry("1124-bbbb", **free))
        assert [(a.key, a.kind, a.title) for a in found] == [
            ("run 1124-aaaa 1", AlertKind.END, "run 1124-aaaa succeeded")
        ]
        assert self.look(home, entry("1124-aaaa", **free), known=("run 1124-aaaa 1",)) == []

    def test_an_instance_that_is_gone_without_a_result_is_a_failure(self, tmp_path: Path) -> None:
        gone = entry("1124-bbbb", state=InstanceState.DESTROYED, ended=1060.0)
        (found,) = self.look(Home(tmp_path), gone)
        assert (found.kind, found.title) == (AlertKind.FAILURE, "run 1124-bbbb lost")
        assert "no result came" in found.text

    def test_only_the_newest_attempt_counts(self, tmp_path: Path) -> None:
        first = entry("1124-bbbb", label="a", state=InstanceState.DESTROYED, ended=1060.0)
        assert self.look(Home(tmp_path), entry("1124-bbbb", attempt=2, usd_per_hour=0.0), first) == []

    def test_caps_of_run_and_day_and_orphans_are_told(self, tmp_path: Path) -> None:
        home, now = Home(tmp_path), time.time()
        dear = entry("1124-bbbb", created=now - 1, usd_per_hour=3600.0 * 30, cap_usd=5.0)
        stray = RemoteInstance("7", "vast", "ups-x", ProviderState.RUNNING, 0.3, "A40", now)
        found = alerts([dear], Registry(home.runs), orphans=[stray], cap_day_usd=25.0, now=now)
        assert sorted(a.kind for a in found if a.kind is not AlertKind.END) == ["budget", "budget", "orphan"]


class TestWebhook:
    def test_ntfy_gets_text_and_headers_and_slack_gets_json(self) -> None:
        with receiver() as told:
            Webhook(f"{told.url}/{SECRET}").post(alert(kind=AlertKind.ORPHAN))
            Webhook(f"{told.url}/services/{SECRET}").post(alert())
        (ntfy_path, headers, body), (_, _, slack) = told.taken
        assert ntfy_path == f"/{SECRET}"
        assert (headers["Title"], headers["Priority"]) == ("run 1124-aaaa succeeded", "5")
        assert body == "$0.25 on RTX 4090, ν = 0.1"
        assert slack.startswith('{"text": "*run 1124-aaaa succeeded*')

    def test_what_may_pass_is_tried_twice_more_and_what_may_not_is_not(self) -> None:
        waits: list[float] = []
        with receiver(503, 429, 200, 403) as told:
            hook = Webhook(f"{told.url}/{SECRET}", sleep=waits.append)
            hook.post(alert())
            assert len(told.taken) == 3
            with pytest.raises(WebhookError, match="it answers 403"):
                hook.post(alert())
            assert len(told.taken) == 4
        assert waits == [1.0, 2.0]

    @pytest.mark.parametrize(
        ("answer", "words", "requests"),
        [(307, "it redirects (307), which is not followed", 1), (0, "it does not answer in time", 3)],
    )
    def test_redirects_are_not_followed_and_a_stall_ends(
        self, answer: int, words: str, requests: int
    ) -> None:
        with receiver(answer, answer, answer) as told:
            hook = Webhook(f"{told.url}/{SECRET}", timeout_s=0.2, sleep=lambda _: None)
            with pytest.raises(WebhookError) as caught:
                hook.post(alert())
        assert words in caught.value.message
        assert [path for path, _, _ in told.taken] == [f"/{SECRET}"] * requests
        assert SECRET not in f"{caught.value!r} {caught.value.message} {caught.value.hint} {hook!r}"

    def test_who_refuses_is_named_without_the_url(self) -> None:
        with receiver() as told:
            url = told.url
        with pytest.raises(WebhookError, match="refused") as caught:
            Webhook(f"{url}/{SECRET}", sleep=lambda _: None).post(alert())
        assert "127.0.0.1" not in caught.value.message


class TestAnnouncer:
    def make(self, home: Home, url: str | None) -> Announcer:
        hook = Webhook(f"{url}/{SECRET}", timeout_s=5.0, sleep=lambda _: None) if url else None
        return Announcer(Announced(home.announced), home.locks / "announcing.lock", hook)

    def test_each_alert_is_told_once_over_console_and_guard(self, tmp_path: Path) -> None:
        home, said = Home(tmp_path), []
        with receiver() as told:
            both = self.make(home, told.url), self.make(home, told.url)
            both[0].begin([], lambda text, _: said.append(text))
            both[0].join()
            news = [alert(f"run {n} 1") for n in range(5)]
            for _ in range(3):
                for one in both:
                    one.begin(news, lambda text, _: said.append(text))
                for one in both:
                    one.join()
        assert len(told.taken) == 5
        assert said == []

    def test_old_runs_are_no_news_at_the_first_look_but_an_orphan_is(self, tmp_path: Path) -> None:
        with receiver() as told:
            one = self.make(Home(tmp_path), told.url)
            one.begin([alert("run 1 1"), alert("orphan vast 7", AlertKind.ORPHAN)], print)
            one.join()
        assert len(told.taken) == 1

    def test_it_holds_nobody_up_and_a_failure_is_said_once(self, tmp_path: Path) -> None:
        said: list[str] = []
        with receiver(0) as told:
            one = self.make(Home(tmp_path), told.url)
            one.begin([], print)
            one.join()
            one.begin([alert()], lambda text, _: said.append(text))
            one.begin([alert("run 2 1")], lambda text, _: said.append(text))  # returns at once
            told.answers[:] = [403]
            told.go_on.set()
            one.join()
            one.begin([alert()], lambda text, _: said.append(text))
            one.join()
        assert len(said) == 1
        assert SECRET not in said[0]

    def test_without_a_webhook_what_happened_is_no_news_later(self, tmp_path: Path) -> None:
        home = Home(tmp_path)
        for alerts_now in ([], [alert()]):
            silent = self.make(home, None)
            silent.begin(alerts_now, print)
            silent.join()
        with receiver() as told:
            one = self.make(home, told.url)
            one.begin([alert()], print)
            one.join()
            assert told.taken == []


class TestSettings:
    def test_the_url_is_read_and_never_shown(self, tmp_path: Path) -> None:
        home = Home(tmp_path)
        home.config.write_text(f'[notify]\nwebhook = "https://ntfy.sh/{SECRET}"\nterminal = false\n')
        settings = read_settings(home, environment={})
        assert settings.notify.webhook == f"https://ntfy.sh/{SECRET}"
        assert not settings.notify.terminal
        assert SECRET not in repr(settings)
        given = read_settings(home, environment={"UPS_WEBHOOK": "https://hooks.slack.com/services/x"})
        assert given.notify.webhook == "https://hooks.slack.com/services/x"

    @pytest.mark.parametrize(
        "url", [f"ntfy.sh/{SECRET}", f"file:///{SECRET}", f"https://{SECRET}\\n", "http://["]
    )
    def test_a_malformed_url_is_one_error_without_it(self, tmp_path: Path, url: str) -> None:
        home = Home(tmp_path)
        home.config.write_text(f'[notify]\nwebhook = "{url}"\n')
        with pytest.raises(ConfigError, match="must be the http") as caught:
            read_settings(home, environment={})
        assert SECRET not in caught.value.message


class TestGuard:
    def test_the_guard_tells_where_no_console_is_open_and_nobody_tells_it_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = Home(tmp_path)
        for name in ("VAST_API_KEY", "VULTR_API_KEY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.chdir(tmp_path)
        with receiver() as told:
            monkeypatch.setenv("UPS_WEBHOOK", f"{told.url}/{SECRET}")
            guards = [Operations(home) for _ in range(3)]
            said: list[str] = []
            guards[0].watch(said.append)
            ledger = guards[0].ledger
            label = Label.new(ledger.console_id, time.time() + 3600)
            ledger.intend(
                label, provider="vast", what="A40", usd_per_hour=0.3, cap_usd=1.0, keep=False,
                run="1130-abcd", attempt=1,
            )  # fmt: skip
            ledger.move(str(label), InstanceState.REQUESTED, "asked")
            ledger.move(str(label), InstanceState.REFUSED, "no such offer")
            for guard in guards:
                guard.watch(said.append)
        assert [headers["Title"] for _, headers, _ in told.taken] == ["run 1130-abcd failed"]
        assert said == []
