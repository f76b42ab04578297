"""What the Data screen says of datasets and caches, as rows: tables at a glance, details of one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from console.api import CacheRow, DatasetRow, StoreUsage
from console.tui.drawing.text import Row, ago, count, duration, size, usd
from console.tui.screens.launch import data_state
from console.tui.widgets.table import Cell, Column, TableRow
from ups.tasks import TASK_SPECS

SPLITS = ("train", "val", "test")
_MOST_RUNS = 6
"""Runs that the details name."""


@dataclass(frozen=True, slots=True)
class CacheGroup:
    """The splits of one task under one cache version: a row of the table of caches."""

    version: str
    task: str
    rows: tuple[CacheRow, ...]

    @property
    def key(self) -> str:
        return f"{self.version}/{self.task}"

    @property
    def bytes(self) -> int:
        return sum(row.bytes for row in self.rows)

    @property
    def states(self) -> tuple[str, ...]:
        """The states of its splits, each once, the good one last."""
        return tuple(sorted({row.state for row in self.rows}, key=lambda state: (state == "verified", state)))

    @property
    def is_verified(self) -> bool:
        return self.states == ("verified",)

    @property
    def saves_seconds(self) -> float | None:
        known = [row.saves_seconds for row in self.rows if row.saves_seconds is not None]
        return sum(known) if known else None


def grouped(caches: Iterable[CacheRow]) -> dict[str, CacheGroup]:
    """The caches by version and task, in their order; what is of use first."""
    rows: dict[tuple[str, str], list[CacheRow]] = {}
    for cache in caches:
        rows.setdefault((cache.version, cache.task), []).append(cache)
    groups = [CacheGroup(version, task, tuple(found)) for (version, task), found in rows.items()]
    return {group.key: group for group in sorted(groups, key=lambda group: group.states == ("legacy",))}


def in_order(rows: Sequence[DatasetRow]) -> list[DatasetRow]:
    """What is there first, then what can be made, then the rest."""
    return sorted(
        rows, key=lambda row: (row.state == "missing") + (row.state == "missing" and not row.can_make)
    )


# --- tables -----------------------------------------------------------------------------------


def dataset_columns(versions: Sequence[str], *, rent: bool) -> list[Column]:
    """The columns that `dataset_cells` fills; the rent only where there is one."""
    return [
        Column("task", most=20), Column("state", most=12),
        Column("size", align="right"),
        Column("samples", align="right", optional=72), Column("grid", most=14, optional=84),
        Column("age", align="right", optional=104),
        *([Column("$/month", align="right", optional=92)] if rent else []),
        *(Column(version, most=20, optional=84 + 16 * place) for place, version in enumerate(versions)),
        Column("runs", align="right", optional=64), Column("", flex=True, most=60, optional=150),
    ]  # fmt: skip


def dataset_cells(row: DatasetRow, groups: Sequence[CacheGroup], now: float, *, rent: bool) -> TableRow:
    """The table row of a task; `groups` has its caches, or None, for each version."""
    known = row.state != "missing"
    state = data_state(row) if row.state != "verified" else ("✓ verified", "good")
    samples = "/".join(count(row.splits[n].samples) if row.splits[n].samples else "?"
                       for n in SPLITS if n in row.splits)  # fmt: skip
    cells: list[Cell] = [
        (row.task, f"task:{row.task}" if known or row.can_make else "muted"),
        state,
        size(row.bytes) if row.splits else "",
        samples,
        grid(row),
        ago(now - row.modified).removesuffix(" ago") if row.modified else "",
        *([usd(row.usd_per_month) if row.usd_per_month is not None else ""] if rent else []),
        *(cache_cell(group) for group in groups),
        str(row.used_by or ""),
        (row.note, "warn"),
    ]
    return TableRow(row.task, cells)


def grid(row: DatasetRow) -> str:
    """The resolution: cells along each axis, or points of the largest sample."""
    text = "×".join(map(str, row.resolution))
    return f"≤ {text} points" if text and TASK_SPECS[row.task].modality != "grid" else text


def cache_cell(group: CacheGroup) -> Cell:
    """A task's caches of one version, in the table of datasets."""
    if not group.rows:
        return ("–", "muted")
    if group.is_verified:
        return (f"✓ {size(group.bytes)}", "good")
    return (f"{group.states[0]} {size(group.bytes)}", "warn")


CACHE_COLUMNS = (
    Column("version", most=18), Column("task", most=20), Column("state", most=10),
    Column("size", align="right"), Column("saves", align="right", optional=70),
)  # fmt: skip


def cache_cells(group: CacheGroup) -> TableRow:
    """The table row of a task's caches of one version."""
    state = ("✓", "good") if group.is_verified else ("/".join(group.states), "warn")
    saves = group.saves_seconds
    cells: list[Cell] = [
        group.version,
        (group.task, f"task:{group.task}"),
        state,
        size(group.bytes),
        "" if saves is None else moment(saves),
    ]
    return TableRow(group.key, cells)


def moment(seconds: float) -> str:
    """A duration; of less than a second no more than that."""
    return duration(seconds) if seconds >= 1 else "under 1 s"


def usage_note(usage: StoreUsage) -> Row:
    """The store in a few words, on the frame."""
    rent = f", {usd(usage.usd_per_month)} a month" if usage.usd_per_month is not None else ""
    return [(f"{size(usage.bytes)} in {usage.url}{rent}", "muted")]


# --- details ----------------------------------------------------------------------------------


def dataset_details(
    row: DatasetRow, groups: Iterable[CacheGroup], usage: StoreUsage, now: float
) -> list[Row]:
    """Everything known of a dataset."""
    spec = TASK_SPECS[row.task]
    domain = " × ".join(f"[{low:g}, {high:g}]" for low, high in spec.domain)
    rows: list[Row] = [
        [(spec.title, "title"), (f"   {spec.equation}", "text")],
        [(f"{', '.join(spec.fields)} on {domain}, {spec.boundary} boundary", "muted")],
    ]
    if row.note:
        rows.append([(row.note, "warn")])
    if row.state == "missing":
        how = "m makes reference data" if row.can_make else f"`ups-console data import {row.task} FILE…`"
        return [*rows, [("not in the store: ", "muted"), (how, "accent")]]
    for name, split in row.splits.items():
        shape = f"{split.samples} samples, {'×'.join(map(str, split.shape))}, " if split.shape else ""
        rows.append(_named(name, f"{shape}{size(split.bytes)}"))
    for name, values in row.parameters.items():
        rows.append(
            _named(name, ", ".join(f"{v:g}" for v in values[:12]) + (" …" if len(values) > 12 else ""))
        )
    if row.provenance:
        rows.append(_named("from", ", ".join(row.provenance)))
    if row.modified:
        rows.append(_named("made", ago(now - row.modified)))
    rows.append(_named("runs", _runs(row.runs)))
    if row.usd_per_month is not None:
        rows.append(_named("rent", f"{usd(row.usd_per_month)} a month"))
        rows.append(_named("egress", _egress(usage)))
    rows += [_named("cache", f"{group.version}: {', '.join(group.states)}, {size(group.bytes)}")
             for group in groups]  # fmt: skip
    return rows


def cache_details(group: CacheGroup, now: float) -> list[Row]:
    """Everything known of a task's caches of one version."""
    rows: list[Row] = []
    for row in group.rows:
        state = "" if row.state == "verified" else row.state
        samples = f"{row.samples} samples" if row.samples else ""
        facts = (state, samples, size(row.bytes), row.fingerprint[:12])
        rows.append(_named(row.split, ", ".join(fact for fact in facts if fact)))
    rows += [[(note, "warn")] for note in dict.fromkeys(row.note for row in group.rows) if note]
    youngest = max((row.modified for row in group.rows if row.modified), default=None)
    common = [", ".join(sorted({row.dtype for row in group.rows} - {""})),
              "grid " + "×".join(map(str, group.rows[0].resolution)) if group.rows[0].resolution else "",
              ago(now - youngest) if youngest else ""]  # fmt: skip
    rows.append(_named("made", ", ".join(fact for fact in common if fact)))
    rows.append(_named("runs", _runs(group.rows[0].runs)))
    rows += _worth(group)
    if not group.is_verified:
        rows.append([("c", "key"), (" builds what is missing or does not fit", "muted")])
    return rows


def _worth(group: CacheGroup) -> list[Row]:
    """What the caches save a run, what they cost, and whether they have paid."""
    usable = [row for row in group.rows if row.saves_seconds is not None]
    if not usable:
        return [_named("worth", "no run can use it as it is")]
    saves = f"saves a run {moment(sum(row.saves_seconds or 0.0 for row in usable))}"
    rents = [row.usd_per_month for row in usable if row.usd_per_month is not None]
    if rents:
        saved, built = (
            sum(getattr(row, name) or 0.0 for row in usable) for name in ("saves_usd", "build_usd")
        )
        saves += f" and {usd(saved)}; took {usd(built)} to make, {usd(sum(rents))} a month to keep"
    needed = [row.runs_to_pay for row in usable]
    if all(row.has_paid for row in usable):
        paid: Row = [("has paid", "good")]
    elif None in needed:
        paid = [("does not pay", "warn")]
    else:
        most = max(runs for runs in needed if runs is not None)
        paid = [(f"pays after {most} run{'s' * (most != 1)}", "text")]
    return [_named("worth", f"{saves}"), [("       ", "muted"), *paid]]


def _runs(runs: Sequence[str]) -> str:
    if not runs:
        return "none was trained on it"
    more = f" and {len(runs) - _MOST_RUNS} more" if len(runs) > _MOST_RUNS else ""
    return ", ".join(runs[:_MOST_RUNS]) + more


def _egress(usage: StoreUsage) -> str:
    free, price = usage.free_egress_bytes or 0.0, usage.usd_per_gb_egress or 0.0
    return f"{size(free)} a month are free, then ${price:g}/GB"


def _named(name: str, text: str) -> Row:
    return [(f"{name:<6} ", "muted"), (text, "text")]
