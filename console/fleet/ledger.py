"""The ledger: every instance, every transition, every dollar, in one SQLite file.

An intent is written before anything is rented, so that no crash can leave an instance that nobody
knows of. Transitions are checked against the table and never rewritten. No network call happens
inside a transaction.
"""

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from console.fleet.model import LIVING, InstanceState, Label, check_transition
from ups.errors import NotFoundError, StoreError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS instances (
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
);
CREATE TABLE IF NOT EXISTS transitions (
    id INTEGER PRIMARY KEY,
    t REAL NOT NULL,
    label TEXT NOT NULL REFERENCES instances(label),
    before TEXT,
    after TEXT NOT NULL,
    cause TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS transitions_of ON transitions(label);
"""

_COLUMNS = (
    "label, provider, provider_id, what, state, run, attempt, usd_per_hour, cap_usd, keep, created, ended"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """An instance as the ledger has it."""

    label: str
    provider: str
    provider_id: str | None
    what: str
    state: InstanceState
    run: str | None
    attempt: int | None
    usd_per_hour: float
    cap_usd: float
    keep: bool
    created: float
    """Unix seconds at which the intent was written; money counts from here."""
    ended: float | None
    """Unix seconds at which it was destroyed, refused or abandoned."""

    @property
    def living(self) -> bool:
        return self.state in LIVING

    @property
    def deadline(self) -> float:
        parsed = Label.parse(self.label)
        return float(parsed.deadline) if parsed else self.created


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
        StoreError: the file cannot be opened or written.
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
        with self._connect() as connection:
            connection.executescript(_SCHEMA)
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('console_id', ?)", (secrets.token_hex(4),))
            row = connection.execute("SELECT value FROM meta WHERE key = 'console_id'").fetchone()
        self.console_id: str = row[0]

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self.path, timeout=15, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
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
        keep: bool, run: str | None, attempt: int | None,
    ) -> Entry:  # fmt: skip
        """Write the intent to rent, before anything is rented."""
        now = self._clock()
        with self._transaction() as connection:
            connection.execute(
                f"INSERT INTO instances ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                (str(label), provider, None, what, InstanceState.INTENDED, run, attempt, usd_per_hour,
                 cap_usd, int(keep), now, None),
            )  # fmt: skip
            _record(connection, now, str(label), None, InstanceState.INTENDED, "launch")
        return self.entry(str(label))

    def move(self, label: str, after: InstanceState, cause: str, *, provider_id: str | None = None) -> Entry:
        """Take a transition.

        Raises:
            IllegalTransitionError: the table has no such edge.
            NotFoundError: no such instance.
        """
        now = self._clock()
        with self._transaction() as connection:
            row = connection.execute("SELECT state FROM instances WHERE label = ?", (label,)).fetchone()
            if row is None:
                raise NotFoundError(f"the ledger has no instance {label}")
            before = InstanceState(row[0])
            check_transition(before, after)
            ended = None if after in LIVING else now
            connection.execute(
                "UPDATE instances SET state = ?, ended = ?, provider_id = coalesce(?, provider_id) "
                "WHERE label = ?",
                (after, ended, provider_id, label),
            )
            _record(connection, now, label, before, after, cause)
        return self.entry(label)

    def assign(self, label: str, run: str, attempt: int) -> None:
        """Give a kept instance its next run."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE instances SET run = ?, attempt = ? WHERE label = ?", (run, attempt, label)
            )

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
        """The instances of a run, the newest attempt first."""
        return self._select("WHERE run = ? ORDER BY attempt DESC, created DESC", run)

    def find(self, name: str) -> Entry:
        """The instance with this label or provider's id.

        Raises:
            NotFoundError: there is none.
        """
        found = self._select("WHERE label = ?1 OR provider_id = ?1 ORDER BY created DESC", name)
        if not found:
            raise NotFoundError(f"there is no instance {name}", hint="`ups-console fleet` lists them")
        return found[0]

    def history(self, label: str, *, after: int = 0) -> list[TransitionRow]:
        """The transitions of an instance with an id above `after`, in order."""
        with self._connect() as connection:
            rows = connection.execute(
                "SELECT id, t, label, before, after, cause FROM transitions WHERE label = ? AND id > ? "
                "ORDER BY id",
                (label, after),
            ).fetchall()
        return [
            TransitionRow(i, t, name, InstanceState(before) if before else None, InstanceState(to), cause)
            for i, t, name, before, to, cause in rows
        ]

    def _select(self, where: str, *arguments: str) -> list[Entry]:
        with self._connect() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM instances {where}", arguments).fetchall()
        return [
            Entry(label, provider, provider_id, what, InstanceState(state), run, attempt, usd_per_hour,
                  cap_usd, bool(keep), created, ended)
            for (label, provider, provider_id, what, state, run, attempt, usd_per_hour, cap_usd, keep,
                 created, ended) in rows
        ]  # fmt: skip


def _record(
    connection: sqlite3.Connection, t: float, label: str,
    before: InstanceState | None, after: InstanceState, cause: str,
) -> None:  # fmt: skip
    connection.execute(
        "INSERT INTO transitions (t, label, before, after, cause) VALUES (?,?,?,?,?)",
        (t, label, before, after, cause),
    )
