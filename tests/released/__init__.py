"""Records and agents of earlier versions of vmsandbox, which this version has to understand.

They are made from a commit of this repository:

- `python -m tests.released records COMMIT`: `records-COMMIT.json`, every record of its state database, with all fields
  set and with as few as there can be,
- `python -m tests.released agent COMMIT`: `agent-COMMIT.zip`, the sources of its agent, and what runs them on a host.
"""

import contextlib
import json
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RECORDS = sorted(HERE.glob("records-*.json"))
AGENTS = sorted(HERE.glob("agent-*.zip"))


def records(path: Path) -> dict[str, dict[str, Any]]:
    """The bodies by their kinds and then `full` or `least`; beside them `schema`, the version of their database."""
    return json.loads(path.read_text())


def unpack_agent(path: Path, directory: Path) -> Path:
    """Make the checkout of a released agent: `agent/`, `vmsandbox/protocol` and the module that runs it on a host."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(directory)
    return directory


def make_schema_1(database: Path) -> None:
    """Make of a state database of schema 2 one as vmsandbox at d6df41e wrote it."""
    with contextlib.closing(sqlite3.connect(database)) as opened, opened:
        for now, before in (("sandbox", "SandboxRecord"), ("container", "ContainerRecord")):
            opened.execute("UPDATE record SET kind = ? WHERE kind = ?", (before, now))
        opened.execute("PRAGMA user_version=1")
