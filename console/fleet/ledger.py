"""The ledger: every instance, every transition, every dollar, in one SQLite file.

An intent is written before anything is rented, so that no crash can leave an instance that nobody
knows of. Transitions are checked against the table and never rewritten. No network call happens
inside a transaction.
"""

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from console.fleet.model import LIVING, InstanceState, Label, check_transition
from ups.errors import NotFoundError, StoreError

SCHEMA_VERSION = 3

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS instances (
        label TEXT PRIMARY KEY,
        provider TEXT NOT NULL,
        provider_id TEXT,
        what TEXT NOT NULL,
        state TEXT NOT NULL,
        run TEXT,
        attempt INTEGER,
        usd_per_hour REAL NOT NULL,
        cap_usd REAL NOT NULL,
        keep INTEGER NOT NULL,
        created REAL NOT NULL,
        ended REAL
    )""",
    """CREATE TABLE IF NOT EXISTS transitions (
        id INTEGER PRIMARY KEY,
        t REAL NOT NULL,
        label TEXT NOT NULL REFERENCES instances(label),
        before TEXT,
        after TEXT NOT NULL,
        cause TEXT NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS transitions_of ON transitions(label)",
)
"""Version 1; `_ADDED` brings it up to date, in new files and old ones alike."""

_ADDED = {
    "machine": "TEXT",
    "deadline": "REAL NOT NULL DEFAULT 0",
    "keep_until": "REAL",
    "changed": "REAL NOT NULL DEFAULT 0",
    "listed": "REAL",
    "absent_since": "REAL",
    "absences": "INTEGER NOT NULL DEFAULT 0",
    "ending": "TEXT",
    "was": "TEXT",
    "box": "INTEGER NOT NULL DEFAULT 0",
}
"""Columns of versions 2 and 3."""

UNREACHABLE_AFTER_S = 120.0
"""A machine that never let anybody in for so long counts as failed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An instance as the ledger has it; times are Unix seconds."""

    label: str
    provider: str
    provider_id: str | None
    what: str
    state: InstanceState
    run: str | None
    attempt: int | None
    usd_per_hour: float
    cap_usd: float
    """Of its run; 0: none."""
    keep: bool
    created: float
    """When the intent was written; money counts from here."""
    ended: float | None
    """When it was destroyed, refused or abandoned."""
    machine: str | None = None
    """The host behind it, as its provider names it."""
    deadline: float = 0.0
    keep_until: float | None = None
    """It is held so long although its run is over."""
    changed: float = 0.0
    """When it took its last transition."""
    listed: float | None = None
    """When a list of its provider showed it for the first time."""
    absent_since: float | None = None
    """When the first of an unbroken row of lists lacked it; None: the last one had it, or nobody looked."""
    absences: int = 0
    """How many lists in that row have lacked it."""
    ending: str | None = None
    """Why somebody wants it destroyed; None: nobody does. Never taken back."""
    was: InstanceState | None = None
    """Its state before it was lost."""
    box: int = 0
    """Number among the boxes that work on one attempt; 0 has the run directory that counts."""

    @property
    def living(self) -> bool:
        return self.state in LIVING

    def kept(self, now: float) -> bool:
        """Whether it stays although its run is over."""
        return self.keep if self.keep_until is None else now < self.keep_until


_NAMES = tuple(field.name for field in fields(Entry))
_COLUMNS = ", ".join(_NAMES)


@dataclass(frozen=True, slots=True)
class Change:
    """What one observation changes of an entry; None leaves a column as it is."""

    after: InstanceState | None = None
    cause: str = ""
    provider_id: str | None = None
    listed: float | None = None
    absent_since: float | None = None
    absences: int | None = None
    present: bool = False
    """It is there: what was missing before is void."""
    usd_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class TransitionRow:
    """One row of an instance's history."""

    id: int
    t: float
    label: str
    before: InstanceState | None
    after: InstanceState
    cause: str


class Ledger:
    """Opens, or creates, the ledger. Each call is its own transaction; threads and processes may share it.

    Raises:
        StoreError: the file cannot be opened or written, or a newer version of the console wrote it.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the home may not be written: {path.parent}: {error.strerror}",
                hint="set UPS_HOME to a directory of yours",
            ) from error
        self.console_id = self._open()

    def now(self) -> float:
        """Unix seconds by the ledger's clock, which is everybody's in the fleet."""
        return self._clock()

    def _open(self) -> str:
        """Create or migrate what is not up to date; returns the console's id."""
        with self._connect() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            version = _version(connection)
            if version > SCHEMA_VERSION:
                raise StoreError(
                    f"the ledger {self.path} is of version {version}; this console knows {SCHEMA_VERSION}",
                    hint="use the newer ups-console that wrote it, or another --home",
                )
            if version < SCHEMA_VERSION:
                connection.execute("BEGIN IMMEDIATE")
                _migrate(connection)
                connection.execute("COMMIT")
            row = connection.execute("SELECT value FROM meta WHERE key = 'console_id'").fetchone()
        return str(row[0])

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self.path, timeout=15, isolation_level=None)
            try:
                connection.execute("PRAGMA foreign_keys = ON")
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StoreError(
                f"the ledger {self.path} failed: {error}", hint="check the disk and the file's permissions"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def intend(
        self, label: Label, *, provider: str, what: str, usd_per_hour: float, cap_usd: float,
        keep: bool, run: str | None, attempt: int | None, machine: str | None = None, box: int = 0,
    ) -> Entry:  # fmt: skip
        """Write the intent to rent, before anything is rented."""
        now = self._clock()
        entry = Entry(
            str(label), provider, None, what, InstanceState.INTENDED, run, attempt, usd_per_hour, cap_usd,
            keep, now, None, machine=machine, deadline=float(label.deadline), changed=now, box=box,
        )  # fmt: skip
        with self._transaction() as connection:
            connection.execute(
                f"INSERT INTO instances ({_COLUMNS}) VALUES ({','.join('?' * len(_NAMES))})",
                [getattr(entry, name) for name in _NAMES],
            )
            _record(connection, now, str(label), None, InstanceState.INTENDED, "launch")
        return entry

    def move(self, label: str, after: InstanceState, cause: str, *, provider_id: str | None = None) -> Entry:
        """Take a transition.

        Raises:
            IllegalTransitionError: the table has no such edge.
            NotFoundError: no such instance.
        """
        return self.change(label, lambda _: [Change(after, cause, provider_id)])

    def change(self, label: str, decide: Callable[[Entry], Iterable[Change]]) -> Entry:
        """Read an entry, decide and write, in one transaction.

        Raises:
            IllegalTransitionError: the table has no such edge; nothing was written.
            NotFoundError: no such instance.
        """
        return self._change("WHERE label = ?", (label,), decide, missing=label)[0]

    def change_all(self, provider: str, decide: Callable[[Entry], Iterable[Change]]) -> list[Entry]:
        """`change` for every entry of a provider, in one transaction; returns them as they then are."""
        return self._change("WHERE provider = ?", (provider,), decide)

    def _change(
        self, where: str, arguments: tuple[str, ...], decide: Callable[[Entry], Iterable[Change]],
        *, missing: str | None = None,
    ) -> list[Entry]:  # fmt: skip
        after = []
        with self._transaction() as connection:
            entries = _select(connection, where, arguments)
            if missing is not None and not entries:
                raise NotFoundError(f"the ledger has no instance {missing}")
            for entry in entries:
                changed = entry
                for change in decide(entry):
                    changed = self._apply(connection, changed, change)
                after.append(changed)
        return after

    def _apply(self, connection: sqlite3.Connection, entry: Entry, change: Change) -> Entry:
        values: dict[str, object] = {}
        if change.provider_id is not None:
            values["provider_id"] = change.provider_id
        if change.listed is not None:
            values["listed"] = change.listed
        if change.usd_per_hour is not None:
            values["usd_per_hour"] = change.usd_per_hour
        if change.absent_since is not None:
            values["absent_since"] = change.absent_since
        if change.absences is not None:
            values["absences"] = change.absences
        if change.present:
            values |= {"absent_since": None, "absences": 0}
        if change.after is not None:
            now = self._clock()
            check_transition(entry.state, change.after)
            values |= {
                "state": change.after,
                "changed": now,
                "ended": None if change.after in LIVING else now,
            }
            if change.after is InstanceState.LOST:
                values["was"] = entry.state
            if change.after is InstanceState.STOPPING and entry.ending is None:
                values["ending"] = change.cause
            _record(connection, now, entry.label, entry.state, change.after, change.cause)
        if values:
            connection.execute(
                f"UPDATE instances SET {', '.join(f'{name} = ?' for name in values)} WHERE label = ?",
                (*values.values(), entry.label),
            )
        return _select(connection, "WHERE label = ?", (entry.label,))[0]

    def ask_to_end(self, label: str, cause: str) -> None:
        """Say that an instance is no longer wanted: whoever is its actor, or comes next, destroys it."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE instances SET ending = coalesce(ending, ?) WHERE label = ?", (cause, label)
            )

    def hold(self, label: str, until: float) -> None:
        """Keep an instance until then (Unix seconds), although its run may be over."""
        with self._transaction() as connection:
            connection.execute("UPDATE instances SET keep_until = ? WHERE label = ?", (until, label))

    def assign(self, label: str, run: str, attempt: int) -> None:
        """Give a kept instance its next run."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE instances SET run = ?, attempt = ? WHERE label = ?", (run, attempt, label)
            )

    def number(self, label: str, box: int) -> None:
        """Say which of the boxes of its attempt an instance is."""
        with self._transaction() as connection:
            connection.execute("UPDATE instances SET box = ? WHERE label = ?", (box, label))

    def entry(self, label: str) -> Entry:
        """Raises NotFoundError where the ledger has no such label."""
        found = self._select("WHERE label = ?", label)
        if not found:
            raise NotFoundError(f"the ledger has no instance {label}")
        return found[0]

    def entries(self) -> list[Entry]:
        """All instances, the newest first."""
        return self._select("ORDER BY created DESC, rowid DESC")

    def of_run(self, run: str) -> list[Entry]:
        """The instances of a run, the newest attempt first, and of each its first box."""
        return self._select("WHERE run = ? ORDER BY attempt DESC, box, created DESC", run)

    def find(self, name: str) -> Entry:
        """The instance with this label or provider's id.

        Raises:
            NotFoundError: there is none.
        """
        found = self._select("WHERE label = ?1 OR provider_id = ?1 ORDER BY created DESC", name)
        if not found:
            raise NotFoundError(f"there is no instance {name}", hint="`ups-console fleet` lists them")
        return found[0]

    def failed_machines(
        self, provider: str, *, since: float = 0.0, unreachable_after_s: float = UNREACHABLE_AFTER_S
    ) -> frozenset[str]:
        """Hosts that failed before: an instance on them never became reachable, or was lost.

        One that was given up sooner than it could start says nothing of its host, nor does one that was lost
        while it was being destroyed.

        Args:
            provider: whose hosts.
            since: Unix seconds; earlier failures are forgiven.
            unreachable_after_s: what was given up sooner is not counted.
        """
        with self._connect() as connection:
            rows = connection.execute(_FAILED_MACHINES, (provider, since, unreachable_after_s)).fetchall()
        return frozenset(machine for (machine,) in rows)

    def last_transition(self) -> int:
        """The id of the newest transition; 0 where there is none."""
        with self._connect() as connection:
            return int(connection.execute("SELECT coalesce(max(id), 0) FROM transitions").fetchone()[0])

    def transitions(self, *, after: int = 0) -> list[TransitionRow]:
        """The transitions of all instances with an id above `after`, in order."""
        return self._transitions("WHERE id > ?", (after,))

    def history(self, label: str, *, after: int = 0) -> list[TransitionRow]:
        """The transitions of an instance with an id above `after`, in order."""
        return self._transitions("WHERE label = ? AND id > ?", (label, after))

    def _transitions(self, where: str, arguments: tuple[str | int, ...]) -> list[TransitionRow]:
        with self._connect() as connection:
            rows = connection.execute(
                f"SELECT id, t, label, before, after, cause FROM transitions {where} ORDER BY id", arguments
            ).fetchall()
        return [
            TransitionRow(i, t, name, InstanceState(before) if before else None, InstanceState(to), cause)
            for i, t, name, before, to, cause in rows
        ]

    def _select(self, rest: str, *arguments: str) -> list[Entry]:
        with self._connect() as connection:
            return _select(connection, rest, arguments)


_FAILED_MACHINES = """
SELECT DISTINCT machine FROM instances AS i
WHERE provider = ? AND machine IS NOT NULL AND changed >= ? AND (
    EXISTS (
        SELECT 1 FROM transitions WHERE label = i.label AND after = 'lost'
        AND before IN ('starting', 'reachable', 'running')
    )
    OR (
        NOT EXISTS (SELECT 1 FROM transitions WHERE label = i.label AND after = 'reachable')
        AND EXISTS (
            SELECT 1 FROM transitions AS a JOIN transitions AS b ON a.label = b.label
            WHERE a.label = i.label AND a.after = 'starting' AND b.before = 'starting' AND b.t - a.t >= ?
        )
    )
)
"""


def _select(connection: sqlite3.Connection, rest: str, arguments: tuple[str, ...]) -> list[Entry]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM instances {rest}", arguments).fetchall()
    return [_entry(dict(zip(_NAMES, row, strict=True))) for row in rows]


def _entry(row: dict[str, Any]) -> Entry:
    was = InstanceState(row["was"]) if row["was"] else None
    return Entry(**{**row, "state": InstanceState(row["state"]), "keep": bool(row["keep"]), "was": was})


def _version(connection: sqlite3.Connection) -> int:
    """Of the file; 0 where it is new."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "meta" not in tables:
        return 0
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    return int(row[0]) if row else 1


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring a new file, or one of an earlier version, up to date; harmless where another did it just now."""
    for statement in _SCHEMA:
        connection.execute(statement)
    present = {row[1] for row in connection.execute("PRAGMA table_info(instances)")}
    for name, kind in _ADDED.items():
        if name not in present:
            connection.execute(f"ALTER TABLE instances ADD COLUMN {name} {kind}")
    for (label,) in connection.execute("SELECT label FROM instances WHERE deadline = 0").fetchall():
        parsed = Label.parse(label)
        connection.execute(
            "UPDATE instances SET deadline = CASE WHEN ?1 > 0 THEN ?1 ELSE created END, "
            "changed = (SELECT max(t) FROM transitions WHERE label = ?2), "
            "ending = (SELECT cause FROM transitions WHERE label = ?2 AND after = 'stopping' ORDER BY id), "
            "was = (SELECT before FROM transitions WHERE label = ?2 AND after = 'lost' ORDER BY id DESC) "
            "WHERE label = ?2",
            (parsed.deadline if parsed else 0, label),
        )
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('console_id', ?)", (secrets.token_hex(4),))
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('schema', ?)", (str(SCHEMA_VERSION),))


def _record(
    connection: sqlite3.Connection, t: float, label: str,
    before: InstanceState | None, after: InstanceState, cause: str,
) -> None:  # fmt: skip
    connection.execute(
        "INSERT INTO transitions (t, label, before, after, cause) VALUES (?,?,?,?,?)",
        (t, label, before, after, cause),
    )
