"""The version of the database's schema, and the steps from each earlier one to the next (docs/on-disk.md).

A step is SQL on the open database. It has no classes to decode records with, since those are of the newest version. A
record that a step cannot understand stays as it is, and is found to be damaged when it is read.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from vmsandbox import log
from vmsandbox.errors import FailedPrecondition
from vmsandbox.fs.durable import replace_whole

_log = log.get(__name__)

SCHEMA = 2
"""The version that this program writes. It rises when an earlier program must not read what this one writes.

1: kinds are called as the classes of vmsandbox 0.1.0 were, and whoever reads a record refuses it for one field that it
   does not know.
2: kinds have names of their own; fields that are not known are passed over.
"""

_TABLES = """
CREATE TABLE IF NOT EXISTS record (
    kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
"""


def _name_kinds(database: sqlite3.Connection) -> None:
    for before, now in (("SandboxRecord", "sandbox"), ("ContainerRecord", "container")):
        # Nothing that reads schema 1 writes the newer name: where both are there, the older one is the record.
        database.execute("UPDATE OR REPLACE record SET kind = ? WHERE kind = ?", (now, before))


STEPS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _name_kinds}
"""The steps by the version that each one begins with; it ends with the next version."""


def migrate(database: sqlite3.Connection, path: Path) -> None:
    """Bring the database at `path` to `SCHEMA`: after a copy, in one transaction. Make its tables where it is new.

    Raises:
        FailedPrecondition: a newer version of vmsandbox wrote it, or it cannot be copied.
        sqlite3.Error: it is not usable; it is as it was before.
    """
    with _transaction(database):
        (version,) = database.execute("PRAGMA user_version").fetchone()
        _check(version, path)
        if version and version < SCHEMA:
            _copy(database, path, version)
        database.execute(_TABLES)
        for step in range(version or SCHEMA, SCHEMA):
            STEPS[step](database)
        database.execute(f"PRAGMA user_version={SCHEMA}")
    if version and version < SCHEMA:
        _log.info("the state database %s is migrated from schema %d to %d", path, version, SCHEMA)
    _remove_old_copies(database, path)


def _check(version: int, path: Path) -> None:
    if version < 0:
        raise sqlite3.DatabaseError(f"its schema is {version}")
    if version > SCHEMA:
        raise FailedPrecondition(
            f"the state database {path} has schema {version}, and this version of vmsandbox reads up to {SCHEMA}",
            hint="start the newer version of vmsandbox that wrote it; its pods go on running meanwhile",
        )


def copy_of(path: Path, version: int) -> Path:
    """Where the copy of a database is kept that was made before it was migrated from `version`."""
    return path.with_name(f"{path.name}.schema-{version}")


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if database.in_transaction:  # SQLite may have ended it, where the disk is full or fails.
            database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _copy(database: sqlite3.Connection, path: Path, version: int) -> None:
    copy = copy_of(path, version)
    try:
        # A named file: one that a kill has left holds secrets, and the next attempt is to replace it.
        replace_whole(copy, database.serialize(), temporary=copy.with_name(f"{copy.name}.new"))
    except OSError as error:
        raise FailedPrecondition(
            f"the state database {path} has schema {version} and is not migrated to {SCHEMA}, since it cannot be "
            f"copied to {copy}: {error.strerror or error}",
            hint="make room on that disk, or move away what is in the copy's place",
        ) from None


def _remove_old_copies(database: sqlite3.Connection, path: Path) -> None:
    """Remove each copy that has no sandbox any more which the database has: it is of no use, and holds secrets."""
    for version in STEPS:
        copy = copy_of(path, version)
        if copy.is_file() and not _sandboxes(database) & _sandboxes_of(copy):
            try:
                copy.unlink(missing_ok=True)
            except OSError as error:
                _log.warning("the copy %s of an earlier state database is not removed: %s", copy, error)


def _sandboxes(database: sqlite3.Connection) -> set[str]:
    query = "SELECT CAST(id AS BLOB) FROM record WHERE kind IN ('SandboxRecord', 'sandbox')"
    return {key.decode(errors="replace") for (key,) in database.execute(query)}


def _sandboxes_of(copy: Path) -> set[str]:
    uri = f"{copy.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
            return _sandboxes(database)
    except sqlite3.Error as error:
        _log.warning("the copy %s of an earlier state database cannot be read: %s", copy, error)
        return set()
