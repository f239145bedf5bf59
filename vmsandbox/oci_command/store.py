"""The containers of a root directory (`--root`), a directory each, with a file of what the command knows of it."""

import contextlib
import fcntl
import json
import os
import re
import time
from typing import Any

from vmsandbox.oci_command.errors import CommandError, ContainerMissing, InvalidId

DEFAULT = "/run/vmsandbox-oci"

_ID = re.compile(r"[A-Za-z0-9_+.-]{1,255}")  # The name of a directory.
_FILE = "state.json"
_ALONE = fcntl.LOCK_EX | fcntl.LOCK_NB


class Store:
    """The directory. It is made with the first container."""

    def __init__(self, root: str) -> None:
        """Nothing is read or made yet."""
        self.root = os.path.abspath(root)

    def claim(self, container_id: str) -> "Entry":
        """Make the directory of a new container, and hold it as long as the entry; or take one over that was left.

        A command that was killed leaves its directory without a file, and nobody holds it.

        Raises:
            InvalidId: its id is not valid.
            CommandError: it is taken.
        """
        entry = self._entry(container_id)
        os.makedirs(self.root, 0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(entry.directory, 0o700)
        if not entry.hold():
            raise CommandError(f"container with id exists: {container_id}")
        return entry

    def sweep(self, container_id: str) -> None:
        """Remove a directory that a command left which was killed. Does nothing where there is none."""
        entry = self._entry(container_id)
        if entry.hold():
            entry.remove()

    def find(self, container_id: str) -> "Entry":
        """Return a container that was made. Raises ContainerMissing, InvalidId."""
        entry = self._entry(container_id)
        if not entry.read():
            raise ContainerMissing(f"container does not exist: {container_id}")
        return entry

    def all(self) -> "list[Entry]":
        """Return all containers that were made, by their ids; one whose file is damaged is left out."""
        try:
            names = sorted(os.listdir(self.root))
        except FileNotFoundError:
            return []
        return [entry for name in names if (entry := Entry(self.root, name)).is_readable()]

    def _entry(self, container_id: str) -> "Entry":
        if not _ID.fullmatch(container_id) or container_id in (".", ".."):
            raise InvalidId(f"invalid id format: {container_id!r}")
        return Entry(self.root, container_id)


class Entry:
    """The file of one container, whose content is in `values`."""

    def __init__(self, root: str, container_id: str) -> None:
        """Name it; nothing is read yet."""
        self.id = container_id
        self.directory = os.path.join(root, container_id)
        self.values: dict[str, Any] = {}
        self._opened = -1

    def __del__(self) -> None:
        """Let go of the directory."""
        if self._opened >= 0:
            os.close(self._opened)

    @property
    def container(self) -> str:
        """The daemon's id of the container; empty: the daemon has not made it."""
        return str(self.values.get("container", ""))

    @property
    def pid(self) -> int:
        """The process that stands for the container; 0: it has ended, or never was."""
        pid = int(self.values.get("pid", 0))
        return pid if pid and start_time(pid) == self.values.get("started") else 0

    def hold(self) -> bool:
        """Keep others from taking the directory while this entry is there; return whether that is possible.

        It is not where the directory is gone, where another command holds it, or where it has a file.
        """
        try:
            fcntl.flock(self._open(), _ALONE)
        except (BlockingIOError, FileNotFoundError, NotADirectoryError):
            return False
        return self._is_there() and _FILE not in os.listdir(self._open())

    def read(self) -> bool:
        """Read the file; return whether there is one. One of the same name may be runc's, which has the same root.

        Raises:
            CommandError: it is damaged.
        """
        try:
            with open(self._open_file(_FILE, os.O_RDONLY), encoding="utf-8") as file:
                self.values = json.load(file)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except ValueError as error:
            raise CommandError(f"{self.directory}/{_FILE} is damaged: {error}") from None
        return "container" in self.values

    def is_readable(self) -> bool:
        """Read the file; return whether there is one that can be read."""
        try:
            return self.read()
        except CommandError:
            return False

    def save(self, **changes: Any) -> None:
        """Change what is kept; the file is replaced whole."""
        self.values.update(changes)
        with open(
            self._open_file(f"{_FILE}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w", encoding="utf-8"
        ) as file:
            json.dump(self.values, file)
        os.replace(f"{_FILE}.new", _FILE, src_dir_fd=self._open(), dst_dir_fd=self._open())

    def save_process(self, pid: int) -> None:
        """Keep which process stands for the container."""
        self.save(pid=pid, started=start_time(pid))

    def remove(self) -> None:
        """Forget the container. Succeeds where that was done before, and spares another one that has its id by now."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for name in os.listdir(self._open()):
                if name.startswith(_FILE):
                    os.unlink(name, dir_fd=self._open())
            if self._is_there():
                os.rmdir(self.directory)

    def _open(self) -> int:
        """Return a descriptor of the directory, which stays the same one. Raises OSError: there is none."""
        if self._opened < 0:
            self._opened = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._opened

    def _open_file(self, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_CLOEXEC, 0o644, dir_fd=self._open())

    def _is_there(self) -> bool:
        """Whether the directory is still at its path."""
        return os.path.exists(self.directory) and os.path.samestat(os.stat(self.directory), os.fstat(self._open()))


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
