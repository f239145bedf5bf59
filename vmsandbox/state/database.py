"""What cannot be asked of libvirt, CNI or the agent, kept in one SQLite database (docs/on-disk.md).

A record is a frozen dataclass under a kind and an id. Every write is one transaction in WAL mode: a process that is
killed at any moment leaves the record before or after it, never half. `synchronous=NORMAL` skips the flush that
only a power cut makes necessary; a power cut ends the machines too. A write takes some ten microseconds, so it is
done in the event loop.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from vmsandbox import fs, log
from vmsandbox.errors import FailedPrecondition, Internal, ResourceExhausted
from vmsandbox.protocol import codec

_log = log.get(__name__)

SCHEMA = 1
"""Version of the tables and of every record in them."""

T = TypeVar("T")

_TABLES = """
CREATE TABLE IF NOT EXISTS record (
    kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
"""


class State:
    """The database; the process that opened it owns it, and closes it with `close`."""

    def __init__(self, path: Path) -> None:
        """Open the database at `path`, making it where there is none.

        Raises:
            FailedPrecondition: another version of vmsandbox wrote it, or it is no database.
        """
        self._path = path
        fs.touch(path, 0o600)  # SQLite gives what it keeps beside it the same mode
        self._database = sqlite3.connect(path, isolation_level=None)
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise FailedPrecondition(f"the state database {path} is not usable: {error}") from None
        except FailedPrecondition:
            self._database.close()
            raise

    def _prepare(self) -> None:
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA):
            raise FailedPrecondition(
                f"the state database has version {version}, this program reads version {SCHEMA}",
                hint="use the version of vmsandbox that wrote it, or remove its sandboxes first",
            )
        self._database.executescript(f"{_TABLES} PRAGMA user_version={SCHEMA};")

    def put(self, key: str, record: Any) -> None:
        """Write the record of that id, replacing the one before; its kind is its class.

        Raises:
            ResourceExhausted: the disk is full, or does not take it.
        """
        body = json.dumps(codec.encode(record))
        with self._writing():
            self._database.execute("REPLACE INTO record VALUES (?, ?, ?)", (type(record).__name__, key, body))

    def note(self, key: str, record: Any) -> None:
        """As `put`, for what has happened already: where it cannot be written, that is logged, and life goes on."""
        try:
            self.put(key, record)
        except ResourceExhausted as error:
            _log.error("%s %s is not recorded: %s", type(record).__name__, key, error)

    def delete(self, kind: type, key: str) -> None:
        """Forget a record. Does nothing where there is none. Raises as `put`."""
        with self._writing():
            self._database.execute("DELETE FROM record WHERE kind = ? AND id = ?", (kind.__name__, key))

    def discard(self, kind: type, key: str) -> None:
        """As `delete`, for what nobody needs any more: where it stays, that is logged, and life goes on."""
        try:
            self.delete(kind, key)
        except ResourceExhausted as error:
            _log.error("%s %s is still recorded: %s", kind.__name__, key, error)

    def all(self, kind: type[T]) -> tuple[T, ...]:
        """Every record of a kind that can be read, in the order of their ids; `damaged` has the others.

        Raises:
            FailedPrecondition: the database itself cannot be read.
        """
        parsed = (_parse(kind, key, body) for key, body in self._rows(kind))
        return tuple(record for record in parsed if not isinstance(record, Internal))

    def damaged(self, kind: type) -> dict[str, Internal]:
        """Why the other records of a kind cannot be read, by their ids. Raises as `all`."""
        parsed = {key: _parse(kind, key, body) for key, body in self._rows(kind)}
        return {key: record for key, record in parsed.items() if isinstance(record, Internal)}

    def _rows(self, kind: type) -> list[tuple[str, bytes]]:
        query = "SELECT id, CAST(body AS BLOB) FROM record WHERE kind = ? ORDER BY id"
        try:
            return self._database.execute(query, (kind.__name__,)).fetchall()
        except sqlite3.DatabaseError as error:
            raise FailedPrecondition(
                f"the state database {self._path} cannot be read: {error}",
                hint="move it away; machines that run have to be ended by hand then (docs/on-disk.md)",
            ) from None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ResourceExhausted(
                f"the state database {self._path} cannot be written: {error}", hint="is its disk full?"
            ) from None

    def close(self) -> None:
        """Close the database; the files stay."""
        self._database.close()

    def __enter__(self) -> Self:
        """The open database."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self.close()


def _parse(kind: type[T], key: str, body: bytes) -> T | Internal:
    try:
        return codec.decode(kind, json.loads(body.decode()))
    except Exception as error:  # Whatever stands there, it is not a record.
        return Internal(f"the state record {kind.__name__} {key} is damaged: {error}")
