"""A run as one HTML file: no script, nothing fetched, every text of the run escaped."""

import base64
from collections.abc import Iterable, Iterator
from html import escape
from typing import TYPE_CHECKING, Any

from console.reports import svg, tables
from console.reports.chart import draw_task
from console.reports.content import ReportContent, ShownRollout
from console.reports.png import encode
from console.reports.rollouts import Bar, Column, Figure, bar_pixels, figures
from console.reports.tables import Cell, Flagged, Table
from console.tui.drawing.text import duration, number, usd

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_STYLE = """
:root { color-scheme: light dark; --back: #fff; --panel: #f6f8fa; --text: #1c232b; --muted: #5c6875;
  --line: #d8dee5; --grid: #e6eaee; --axis: #9aa5b1; --train: #0b66b8; --val: #b4540a; --copy: #6b7683;
  --good: #1f7a35; --warn: #8a6100; --bad: #c4162a; }
@media (prefers-color-scheme: dark) { :root { --back: #0f1318; --panel: #161c23; --text: #d7dce2;
  --muted: #8d99a6; --line: #2b343e; --grid: #222a33; --axis: #566270; --train: #5fb3f5; --val: #f2a65a;
  --copy: #8d99a6; --good: #62c073; --warn: #e0b040; --bad: #f5707b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 28px 24px 60px; max-width: 1120px; background: var(--back);
  color: var(--text); font: 14px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 24px; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 34px 0 10px; padding-bottom: 4px; border-bottom: 1px solid var(--line); }
h3 { font-size: 14px; margin: 18px 0 6px; }
p { margin: 6px 0; } .muted { color: var(--muted); }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); font-weight: 600; }
.facts { display: flex; flex-wrap: wrap; gap: 8px 28px; margin: 14px 0; }
.facts div { min-width: 84px; } .facts span { display: block; font-size: 12px; color: var(--muted); }
.verdict { border-left: 4px solid var(--warn); background: var(--panel); padding: 10px 14px; margin: 14px 0; }
.verdict.proceed { border-color: var(--good); } .verdict.stop { border-color: var(--bad); }
.verdict ul { margin: 4px 0; padding-left: 20px; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(400px, 100%), 1fr)); gap: 14px; }
.card { border: 1px solid var(--line); border-radius: 6px; padding: 8px; background: var(--back);
  break-inside: avoid; margin: 0; }
.rollouts { display: grid; gap: 14px;
  grid-template-columns: repeat(auto-fill, minmax(min(500px, 100%), 1fr)); }
.rollouts .wide { grid-column: 1 / -1; }
.frames { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 4px 12px; margin-top: 8px; }
.frames .when { grid-column: 1 / -1; font-size: 12px; color: var(--muted); margin-top: 4px; }
.frames img { width: 100%; display: block; image-rendering: pixelated; }
.frames .points img { image-rendering: auto; }
.bar img { height: 9px; border-radius: 2px; }
.bar i { font-style: normal; }
.bar span { display: flex; justify-content: space-between; font-size: 11px; color: var(--muted);
  font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; min-width: 40%; }
caption { text-align: left; font-weight: 600; padding: 10px 0 4px; }
th { text-align: right; font-weight: 500; color: var(--muted); font-size: 12px; vertical-align: bottom; }
td { text-align: right; } th, td { padding: 4px 14px 4px 0; border-bottom: 1px solid var(--line); }
th, td { white-space: nowrap; }
th.w, td.w { text-align: left; white-space: normal; overflow-wrap: break-word; max-width: 460px; }
details { border: 1px solid var(--line); border-radius: 6px; padding: 8px 12px; margin-top: 10px; }
summary { cursor: pointer; } pre { overflow-x: auto; font: 12px/1.45 ui-monospace, monospace; }
footer { margin-top: 40px; font-size: 12px; color: var(--muted); }
@media print { body { max-width: none; padding: 0; font-size: 11px; color-adjust: exact;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; } h2 { break-after: avoid; }
  tr, .verdict { break-inside: avoid; } .charts { grid-template-columns: 1fr 1fr; }
  pre { white-space: pre-wrap; } }
@page { margin: 14mm; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Whatever is in the file, a browser fetches nothing and runs nothing."""


def render(content: ReportContent) -> str:
    """The whole page."""
    title = f"{content.row.run} · {content.row.config}"
    body = "\n".join(_body(content))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}{svg.STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _body(content: ReportContent) -> Iterator[str]:
    yield _head(content)
    yield from _verdict(content)
    results = list(tables.results(content))
    if results:
        yield "<section><h2>Results</h2>" + "".join(map(_table, results)) + "</section>"
    charts = "".join(
        f'<div class="card">{svg.render(draw_task(content.view, task))}</div>' for task in content.tasks
    )
    yield f'<section><h2>Curves</h2><div class="charts">{charts}</div></section>'
    if content.rollouts:
        shown = "".join(part for rollout in content.rollouts for part in _rollout(rollout))
        yield f'<section><h2>Newest rollouts</h2><div class="rollouts">{shown}</div></section>'
    if content.notices:
        yield f"<section><h2>Warnings</h2>{_table(tables.notices(content))}</section>"
    course = [tables.attempts(content), tables.phases(content), tables.costs(content)]
    yield (
        "<section><h2>Course and cost</h2>"
        + "".join(_table(table) for table in course if table.rows)
        + "</section>"
    )
    if content.config:
        yield (
            "<section><h2>Config</h2><details><summary>the resolved config, as the run was given it</summary>"
            f"<pre>{escape(content.config)}</pre></details></section>"
        )
    written = escape(tables.moment(content.written))
    version = f" Code version {escape(content.code_version)}." if content.code_version else ""
    yield f"<footer>Written by ups-console, {written}.{version}</footer>"


def _head(content: ReportContent) -> str:
    row = content.row
    ink = {"succeeded": "good", "failed": "bad", "lost": "bad"}.get(str(row.status), "warn")
    facts = [
        ("status", f'<b class="{ink}">{escape(str(row.status))}</b>'),
        ("began", escape(tables.moment(row.created))),
        ("took", duration(row.seconds)),
        ("cost", escape(usd(row.usd))),
        ("attempts", str(row.attempts)),
        ("device", escape(content.view.device or "–")),
        ("tasks", str(len(content.tasks))),
    ]
    cells = "".join(f"<div><span>{name}</span>{value}</div>" for name, value in facts)
    note = f"<p>{escape(row.note)}</p>" if row.note else ""
    title = f'{escape(row.config)} <span class="muted">{escape(row.run)}</span>'
    return f'<header><h1>{title}</h1>{note}<div class="facts">{cells}</div></header>'


def _verdict(content: ReportContent) -> Iterator[str]:
    verdict = str(content.gates.get("verdict") or "")
    if verdict:
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in tables.gate_reasons(content.gates))
        following = content.row.next_config
        onward = f", next {escape(following)}" if following else ""
        kind = verdict if verdict in ("proceed", "stop") else ""
        yield f'<div class="verdict {kind}"><b>Gates: {escape(verdict)}</b>{onward}<ul>{reasons}</ul></div>'
    for problem in content.problems:
        yield f'<p class="warn">{escape(problem)}</p>'


def _rollout(shown: ShownRollout) -> Iterator[str]:
    if shown.rollout is None:
        problem = f'<span class="warn">{escape(shown.problem)}</span>'
        yield f'<div class="card"><b>{escape(shown.task)}</b> {problem}</div>'
        return
    points = shown.rollout.positions is not None
    for figure in figures(shown.rollout):
        yield _figure(figure, points=points)


def _figure(figure: Figure, *, points: bool) -> str:
    name = escape(figure.task) + (f" {escape(figure.field)}" if figure.field else "")
    cells = [f"<div>{escape(column.name)}</div>" for column in figure.columns]
    for row, when in enumerate(figure.frames):
        cells += [_picture(figure, column, row, when) for column in figure.columns]
        cells.append(f'<div class="when">{escape(when)}</div>')
    cells += [_bar(column.bar) for column in figure.columns]
    height, width = figure.columns[0].pictures[0].shape[:2]
    wide = " wide" if width > 1.6 * height and not figure.over_time else ""
    caption = f'<b>{name}</b> <span class="muted">{escape(figure.caption)}</span>'
    kind = "frames points" if points else "frames"
    return (
        f'<figure class="card{wide}"><figcaption>{caption}</figcaption>'
        f'<div class="{kind}">{"".join(cells)}</div></figure>'
    )


def _picture(figure: Figure, column: Column, row: int, when: str) -> str:
    pixels = column.pictures[row]
    ratio = "4 / 3" if figure.over_time else f"{pixels.shape[1]} / {pixels.shape[0]}"
    spoken = escape(f"{figure.task} {figure.field}: {column.name}, {when}")
    return f'<div><img alt="{spoken}" style="aspect-ratio: {ratio}" src="{_data_url(pixels)}"></div>'


def _bar(bar: Bar) -> str:
    ends = f"<span><i>{number(bar.low)}</i><i>{number(bar.high)}</i></span>"
    return f'<div class="bar"><img alt="colour scale" src="{_data_url(bar_pixels(bar))}">{ends}</div>'


def _data_url(pixels: "Array") -> str:
    return "data:image/png;base64," + base64.b64encode(encode(pixels)).decode()


def _table(table: Table) -> str:
    head = "".join(_head_cell(name, n < table.words) for n, name in enumerate(table.columns))
    body = "".join(f"<tr>{''.join(_cells(row, table.words))}</tr>" for row in table.rows)
    note = f'<p class="muted">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<div class="scroll"><table><caption>{escape(table.heading)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}"
    )


def _head_cell(name: str, words: bool) -> str:
    return f'<th scope="col"{" class=w" if words else ""}>{escape(name)}</th>'


def _cells(row: Iterable[Cell], words: int) -> Iterator[str]:
    for n, cell in enumerate(row):
        text, kind = (cell.text, cell.kind) if isinstance(cell, Flagged) else (cell, "")
        classes = " ".join(name for name in ("w" if n < words else "", kind) if name)
        yield f"<td{f' class={chr(34)}{classes}{chr(34)}' if classes else ''}>{escape(text)}</td>"
