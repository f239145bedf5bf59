"""The command exec: another process in a container."""

import os
import socket
from collections.abc import Mapping
from typing import Any

from vmsandbox.oci_command import foreground, forking
from vmsandbox.oci_command.base import CommandBase, read_config, read_json
from vmsandbox.oci_command.errors import CommandError
from vmsandbox.oci_command.store import Entry


class ExecFailed(CommandError):
    """The process could not be started: the exit status is not one that it has."""

    status = 255


class Execution(CommandBase):
    """The command; see the module."""

    def do_exec(self) -> int:
        """Run another process in a container: in the background with --detach, else to its end."""
        try:
            return self._exec(self._find())
        except (CommandError, OSError) as error:
            raise ExecFailed(f"exec failed: {error}") from None

    def _exec(self, entry: Entry) -> int:
        self._refuse_descriptors()
        self._check_running(entry)
        config = read_config(entry.values["bundle"])
        process, detached = self._process(config), "detach" in self._own
        console = terminal_wanted(process, self._own.get("console-socket"), detached=detached)
        request = {"name": "exec", "container": entry.container, "process": process}
        cgroup = {"linux": {"cgroupsPath": entry.values["cgroup"]}}
        pid = forking.StandIn(self._daemon, request, process, console.theirs).start(cgroup)
        self._write_pid(pid)
        return 0 if detached else foreground.wait(pid, console.receive())

    def _check_running(self, entry: Entry) -> None:
        status = self._status(entry)
        if status == "stopped":
            raise CommandError("cannot exec in a stopped container")
        if status == "paused" and "ignore-paused" not in self._own:
            raise CommandError("cannot exec in a paused container (use --ignore-paused to override)")

    def _process(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the process to run: that of --process, or the container's own with another command."""
        if path := self._own.get("process"):
            return read_json(path)
        command = self._arguments.operands[1:]
        if not command:
            raise CommandError("process args cannot be empty")
        process = {**config["process"], "args": command, "terminal": "tty" in self._own}
        process["env"] = [*process.get("env", ()), *self._own.repeated("env")]
        if "cwd" in self._own:
            process["cwd"] = self._own.get("cwd")
        if "user" in self._own:
            process["user"] = _user(self._own.get("user"), self._own.repeated("additional-gids"))
        if "no-new-privs" in self._own:
            process["noNewPrivileges"] = True
        if added := self._own.repeated("cap"):
            has = process.get("capabilities") or {}
            process["capabilities"] = {
                kind: [*(has.get(kind) or ()), *added] for kind in ("bounding", "effective", "permitted")
            }
        return process

    def _refuse_descriptors(self) -> None:
        if self._own.get("preserve-fds", "0") not in ("", "0"):
            raise CommandError("--preserve-fds: a process in a machine cannot be given descriptors of the host")

    def _write_pid(self, pid: int) -> None:
        if path := self._own.get("pid-file"):
            with open(f"{path}.new", "w", encoding="ascii") as file:
                file.write(str(pid))
            os.replace(f"{path}.new", path)


class Console:
    """The way of the terminal of a process to the one who has it: the caller, or this process."""

    def __init__(self, theirs: str | socket.socket, ours: socket.socket | None = None) -> None:
        """`theirs` is given the terminal: the caller's socket, or one whose other end is `ours`; empty: nobody is."""
        self.theirs = theirs
        self._ours = ours

    def receive(self) -> int | None:
        """Return the terminal, where this process has it."""
        return None if self._ours is None else foreground.received_terminal(self._ours)


def terminal_wanted(process: Mapping[str, Any], console_socket: str, *, detached: bool) -> Console:
    """Return the way of the terminal that a process is to have, if any. Raises CommandError, as runc does."""
    has_terminal = bool(process.get("terminal"))
    if has_terminal and detached and not console_socket:
        raise CommandError("cannot allocate tty if runc will detach without setting console socket")
    if console_socket and not (has_terminal and detached):
        raise CommandError("cannot use console socket if runc will not detach or allocate tty")
    if has_terminal and not detached:
        ours, theirs = socket.socketpair()
        return Console(theirs, ours)
    return Console(console_socket)


def _user(text: str, groups: list[str]) -> dict[str, Any]:
    uid, _, gid = text.partition(":")
    try:
        return {"uid": int(uid), "gid": int(gid or 0), "additionalGids": [int(group) for group in groups]}
    except ValueError:
        raise CommandError(f"the user {text!r} is not UID[:GID]") from None
