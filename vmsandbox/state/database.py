"""The SQLite database of state that libvirt, CNI and the agent cannot tell (docs/on-disk.md).

Every write is one transaction in WAL mode: a process that is killed at any moment leaves the record before or after
it, never half. `synchronous=NORMAL` skips the flush that only a power cut makes necessary; a power cut ends the
machines too. A write takes some ten microseconds, so it is done in the event loop.
"""

import contextlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, cast

from vmsandbox import fs, log
from vmsandbox.errors import FailedPrecondition, Internal, ResourceExhausted
from vmsandbox.protocol.codec import encode
from vmsandbox.state import salvage
from vmsandbox.state.migrations import migrate
from vmsandbox.state.reading import read
from vmsandbox.state.records import ContainerRecord, SandboxRecord
from vmsandbox.state.stored_container import StoredContainer, stored_container
from vmsandbox.state.stored_sandbox import StoredSandbox, stored_sandbox
from vmsandbox.state.waiting import WaitingRecord

_log = log.get(__name__)

Record = SandboxRecord | ContainerRecord | WaitingRecord
Stored = StoredSandbox | StoredContainer | WaitingRecord

T = TypeVar("T", bound=Record)

_ID = re.compile(rb"[0-9a-f]{32}")
"""The form of an id. An id becomes the name of a directory, so no other value is ever returned."""


_ROWS = "SELECT CAST(id AS BLOB), CAST(body AS BLOB) FROM record WHERE kind = ? AND typeof(id) = 'text' ORDER BY id"

_REASON = 300
"""Characters of the reason why a record cannot be read, which clients of the CRI are told."""


@dataclass(frozen=True, slots=True)
class Damaged(Generic[T]):
    """A record that cannot be read."""

    error: Internal
    """Why."""
    salvaged: T | None
    """The part of the record that could be read."""


@dataclass(frozen=True, slots=True)
class _Kind(Generic[T]):
    """How the records of a class are kept."""

    name: str
    stored: type[Stored]
    store: Callable[[Any], Stored]
    salvage: Callable[[str, bytes, str], T | None]


_KINDS: dict[type, _Kind[Any]] = {
    SandboxRecord: _Kind("sandbox", StoredSandbox, stored_sandbox, salvage.sandbox),
    ContainerRecord: _Kind("container", StoredContainer, stored_container, salvage.container),
    WaitingRecord: _Kind("waiting machine", WaitingRecord, lambda record: record, lambda *_: None),
}


class State:
    """The database; the process that opened it owns it, and closes it with `close`."""

    def __init__(self, path: Path) -> None:
        """Open the database at `path`, making it where there is none, and migrating it where an older version wrote it.

        Raises:
            FailedPrecondition: a newer version of vmsandbox wrote it, or it is not a database.
        """
        self._path = path
        fs.touch(path, 0o600)  # SQLite gives what it keeps beside it the same mode
        with contextlib.ExitStack() as stack:
            try:
                self._database = sqlite3.connect(path, isolation_level=None)
                stack.callback(self._database.close)
                self._prepare()
            except sqlite3.Error as error:
                raise FailedPrecondition(
                    f"the state database {path} is not usable: {error}", hint=_hint(error)
                ) from None
            stack.pop_all()

    def _prepare(self) -> None:
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        migrate(self._database, self._path)
        strangers = "typeof(id) <> 'text' OR length(id) <> 32 OR id GLOB '*[^0-9a-f]*'"
        for (key,) in self._database.execute(f"SELECT hex(id) FROM record WHERE {strangers}"):  # noqa: S608
            _log.error("a record in %s has the id %s (hexadecimal), which is not an id; it is ignored", self._path, key)

    def put(self, key: str, record: Record) -> None:
        """Write the record of that id, replacing the one before.

        Raises:
            ResourceExhausted: the disk is full, or does not take it.
        """
        kind = _kind(type(record))
        body = json.dumps(encode(kind.store(record)))
        with self._writing():
            self._database.execute("REPLACE INTO record VALUES (?, ?, ?)", (kind.name, key, body))

    def note(self, key: str, record: Record) -> None:
        """Store a record of something that has happened already; log an error instead of raising it."""
        try:
            self.put(key, record)
        except ResourceExhausted as error:
            _log.error("%s %s is not recorded: %s", _kind(type(record)).name, key, error)

    def delete(self, kind: type[T], key: str) -> None:
        """Forget a record. Does nothing where there is none. Raises as `put`."""
        with self._writing():
            self._database.execute("DELETE FROM record WHERE kind = ? AND id = ?", (_kind(kind).name, key))

    def discard(self, kind: type[T], key: str) -> None:
        """Delete a record that nobody needs any more; log an error instead of raising it."""
        try:
            self.delete(kind, key)
        except ResourceExhausted as error:
            _log.error("%s %s is still recorded: %s", _kind(kind).name, key, error)

    def all(self, kind: type[T]) -> tuple[T, ...]:
        """Every record of a kind that can be read, in the order of their ids; `damaged` has the others.

        Raises:
            FailedPrecondition: the database itself cannot be read.
        """
        found = (_parse(_kind(kind), key, body) for key, body in self._rows(kind))
        return tuple(record for record in found if not isinstance(record, Damaged))

    def damaged(self, kind: type[T]) -> dict[str, Damaged[T]]:
        """The other records of a kind, by their ids. Raises as `all`."""
        found = {key: _parse(_kind(kind), key, body) for key, body in self._rows(kind)}
        return {key: record for key, record in found.items() if isinstance(record, Damaged)}

    def _rows(self, kind: type[T]) -> list[tuple[str, bytes]]:
        try:
            rows = self._database.execute(_ROWS, (_kind(kind).name,)).fetchall()
        except sqlite3.DatabaseError as error:
            raise FailedPrecondition(
                f"the state database {self._path} cannot be read: {error}", hint=_BY_HAND
            ) from None
        return [(key.decode(), body) for key, body in rows if _ID.fullmatch(key)]

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ResourceExhausted(
                f"the state database {self._path} cannot be written: {error}", hint="check whether its disk is full"
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


_PASSING = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
}
"""The errors of SQLite that say nothing about the database itself: its disk is full, say, or another process has it."""

_BY_HAND = "move it away; machines that run have to be ended by hand then (docs/on-disk.md)"


def _hint(error: sqlite3.Error) -> str:
    """Nobody is to move a database away that its disk has no room for."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING:
        return "make room on its disk, and see whether another process has it open; the database may be in order"
    return _BY_HAND


def _kind(live: type[T]) -> _Kind[T]:
    return _KINDS[live]


def _parse(kind: _Kind[T], key: str, body: bytes) -> T | Damaged[T]:
    try:
        stored = read(kind.stored, json.loads(body.decode()), kind.name)
        if stored.id != key:
            raise ValueError(f"it contains the id {stored.id!r}")
        return cast(T, stored.restored())
    except Exception as error:  # Whatever stands there, it is not a record.
        reason = Internal(f"the state record of {kind.name} {key} cannot be read: {str(error)[:_REASON]}")
        return Damaged(reason, kind.salvage(key, body, str(reason)))
