"""The containers of a root directory (`--root`), a directory each, with a file of what the command knows of it."""

import contextlib
import json
import os
import re
import time
from typing import Any

from vmsandbox.oci_command.errors import CommandError, ContainerMissing

DEFAULT = "/run/vmsandbox-oci"

_ID = re.compile(r"[A-Za-z0-9_+.-]{1,255}")  # The name of a directory.
_FILE = "state.json"


class Store:
    """The directory. It is made with the first container."""

    def __init__(self, root: str) -> None:
        """Nothing is read or made yet."""
        self.root = os.path.abspath(root)

    def claim(self, container_id: str) -> "Entry":
        """Make the directory of a new container. Raises CommandError: its id is not valid, or taken."""
        entry = self._entry(container_id)
        os.makedirs(self.root, 0o700, exist_ok=True)
        try:
            os.mkdir(entry.directory, 0o700)
        except FileExistsError:
            raise CommandError(f"container with id exists: {container_id}") from None
        return entry

    def find(self, container_id: str) -> "Entry":
        """Return a container that was made. Raises ContainerMissing; CommandError: its id is not valid."""
        entry = self._entry(container_id)
        if not entry.read():
            raise ContainerMissing(f"container does not exist: {container_id}")
        return entry

    def all(self) -> "list[Entry]":
        """Return all containers that were made, by their ids."""
        try:
            names = sorted(os.listdir(self.root))
        except FileNotFoundError:
            return []
        entries = [Entry(self.root, name) for name in names]
        return [entry for entry in entries if entry.read()]

    def _entry(self, container_id: str) -> "Entry":
        if not _ID.fullmatch(container_id) or container_id in (".", ".."):
            raise CommandError(f"invalid id format: {container_id!r}")
        return Entry(self.root, container_id)


class Entry:
    """The file of one container, whose content is in `values`."""

    def __init__(self, root: str, container_id: str) -> None:
        """Name it; nothing is read yet."""
        self.id = container_id
        self.directory = os.path.join(root, container_id)
        self.values: dict[str, Any] = {}

    @property
    def container(self) -> str:
        """The daemon's id of the container; empty: the daemon has not made it."""
        return str(self.values.get("container", ""))

    @property
    def pid(self) -> int:
        """The process that stands for the container; 0: it has ended, or never was."""
        pid = int(self.values.get("pid", 0))
        return pid if pid and start_time(pid) == self.values.get("started") else 0

    def read(self) -> bool:
        """Read the file; return whether there is one. One of the same name may be runc's, which has the same root."""
        try:
            with open(os.path.join(self.directory, _FILE), encoding="utf-8") as file:
                self.values = json.load(file)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return "container" in self.values

    def save(self, **changes: Any) -> None:
        """Change what is kept; the file is replaced whole."""
        self.values.update(changes)
        path = os.path.join(self.directory, _FILE)
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(self.values, file)
        os.replace(f"{path}.new", path)

    def save_process(self, pid: int) -> None:
        """Keep which process stands for the container."""
        self.save(pid=pid, started=start_time(pid))

    def remove(self) -> None:
        """Forget the container. Succeeds where that was done before."""
        for name in (_FILE, f"{_FILE}.new"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.directory, name))
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(self.directory)


def start_time(pid: int) -> int:
    """Return when a process has started, in ticks since the boot (proc(5)); 0: it has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def now() -> str:
    """Return the time as runc writes it (RFC 3339)."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
