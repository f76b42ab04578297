"""The page of a run: whole, self-contained, and harmless whatever the run's texts say."""

import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from console.home import Home
from console.operations import Operations
from console.reports import page
from console.reports.content import ReportContent
from tests.console.reports.conftest import HOSTILE, TASKS, VOLUME
from tests.console.tui.conftest import record_run
from ups.errors import NotFoundError, UsageError

_VOID = {"meta", "img", "br", "link"}


class _Seen(HTMLParser):
    """Elements with their attributes, in order; fails where one is closed that is not open."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def html(content: ReportContent) -> str:
    return page.render(content)


def test_a_page_is_well_formed_and_shows_the_curves_of_every_task(html: str) -> None:
    seen = _Seen(html)
    assert seen.open == []
    charts = [str(chart["aria-label"]) for chart in seen.of("svg")]
    assert [label.startswith(task) for label, task in zip(charts, TASKS, strict=True)] == [True] * len(TASKS)
    assert all("train loss" in label and "persistence is 0.300" in label for label in charts)
    paths = [str(path["class"]) for path in seen.of("path")]
    assert sum(name == "l-val" for name in paths) == len(TASKS)
    assert "diff_residual" in seen.texts


def test_a_page_fetches_and_runs_nothing(html: str) -> None:
    seen = _Seen(html)
    assert {tag for tag, _ in seen.elements}.isdisjoint(
        {"script", "link", "iframe", "object", "base", "form"}
    )
    for _, attributes in seen.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert (
                str(attributes.get(name, "data:")).startswith("data:image/png;base64,")
                or name not in attributes
            )
    assert not re.search(r"url\(|@import|https?://", html)
    assert any("default-src 'none'" in str(meta.get("content")) for meta in seen.of("meta"))


def test_texts_of_the_run_are_shown_and_never_markup(html: str) -> None:
    seen = _Seen(html)
    assert HOSTILE not in html
    assert HOSTILE in seen.texts
    assert any(HOSTILE in str(image["alt"]) for image in seen.of("img"))
    assert all(image.get("src", "").startswith("data:") for image in seen.of("img"))  # type: ignore[union-attr]


def test_tables_say_what_has_no_skill_and_what_test_time_compute_gave(html: str) -> None:
    text = " ".join(_Seen(html).texts)
    assert re.search(rf"{VOLUME} 0.0183 .* no skill", text)
    assert "test split, test-time compute" in text
    assert "unguarded" in text
    assert "warning plateau" in text
    assert "optimizer" in text or "training" in text  # of the config


def test_the_verdict_of_the_gates_stands_on_top(home: Home) -> None:
    directory = record_run(home, "1130-gate", epochs=1, report=True)
    gates = {"verdict": "stop", "reasons": ["darcy2d: worse than copying & worse"], "next": None}
    report = json.loads(directory.report_path.read_text())
    directory.report_path.write_text(json.dumps({**report, "gates": gates}))
    (written,) = Operations(home).write_report("1130-gate")
    text = " ".join(_Seen(written.read_text()).texts)
    assert (
        text.index("Gates: stop") < text.index("darcy2d: worse than copying & worse") < text.index("Results")
    )


def test_rollouts_of_every_kind_are_pictures(html: str) -> None:
    images = [image for image in _Seen(html).of("img") if image["alt"] != "colour scale"]
    assert all(
        base64.b64decode(str(image["src"]).partition(",")[2])[:8] == b"\x89PNG\r\n\x1a\n" for image in images
    )
    # A still plane, two tasks over time; two fields of a plane, a volume and particles in three frames.
    assert len(images) == 3 + 2 * 3 + 2 * 9 + 9 + 9


def test_a_rollout_that_cannot_be_read_is_named_and_costs_nothing_else(home: Home) -> None:
    directory = record_run(home, "1130-torn", epochs=1)
    for path in (directory.root / "rollouts").glob("darcy2d*"):
        path.write_bytes(b"PK torn")
    (written,) = Operations(home).write_report("1130-torn")
    text = " ".join(_Seen(written.read_text()).texts)
    assert "cannot be read" in text
    assert "has no report yet" in text
    assert "<svg" in written.read_text()


def test_a_run_without_any_event_has_a_page(home: Home) -> None:
    directory = record_run(home, "1130-none", epochs=0)
    directory.events_path.unlink()
    (written,) = Operations(home).write_report("1130-none")
    assert written == directory.root / "report.html"
    assert "local_2task" in written.read_text()


def test_the_command_says_what_it_wrote(home: Home, tmp_path: Path) -> None:
    record_run(home, "1130-good", epochs=1, report=True)
    done = subprocess.run(
        [sys.executable, "-m", "console.cli.app", "report", "1130", "--home", str(home.root), "--json",
         "--html", "a.html"], cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["written"] == [str(tmp_path / "a.html")]
    assert "no skill" in (tmp_path / "a.html").read_text()


def test_where_nothing_can_be_written_is_said(home: Home) -> None:
    record_run(home, "1130-good", epochs=1)
    operations = Operations(home)
    with pytest.raises(NotFoundError, match="no folder"):
        operations.write_report("1130-good", html=home.root / "nowhere" / "a.html")
    with pytest.raises(UsageError, match="cannot be written"):
        operations.write_report("1130-good", html=home.runs)
