"""The commands. Their output, and the phrases of their errors, are runc's: callers look for them."""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from vmsandbox.oci_command import cgroups, forking
from vmsandbox.oci_command.arguments import Arguments
from vmsandbox.oci_command.daemon import Daemon
from vmsandbox.oci_command.errors import CommandError, ContainerMissing
from vmsandbox.oci_command.store import Entry, Store, now

RUNTIME_SPEC = "1.0.2"

_GONE = 10.0
"""Seconds for which `delete` waits for the container's process on the host to end by itself."""


class Commands:
    """The commands, by their names; each prints, and returns the exit status."""

    def __init__(self, arguments: Arguments, store: Store, daemon: Daemon) -> None:
        """Read the command line, which all of them need."""
        self._arguments = arguments
        self._own = arguments.own
        self._store = store
        self._daemon = daemon

    def run(self) -> int:
        """Run the command that is asked for. Raises CommandError."""
        command: Callable[[], int] = getattr(self, f"do_{self._arguments.command}")
        return command()

    def do_create(self) -> int:
        """Make a container, and the process that stands for it; the caller's process waits for `start`."""
        self._refuse_descriptors()
        bundle = os.path.abspath(self._own.get("bundle") or ".")
        config = read_config(bundle)
        process, console = config.get("process") or {}, self._own.get("console-socket")
        if bool(process.get("terminal")) != bool(console):
            raise CommandError("--console-socket is needed if and only if process.terminal is set")
        cgroups.check(forking.cgroup_of(config), "systemd-cgroup" in self._arguments.options)
        entry = self._store.claim(self._arguments.container_id)
        try:
            profile = self._arguments.options.get("profile")
            answer = self._daemon.call(
                "create", id=entry.id, root=self._store.root, bundle=bundle, config=config, profile=profile
            )
            entry.save(
                id=entry.id,
                bundle=bundle,
                container=answer["container"],
                created=now(),
                annotations=config.get("annotations") or {},
                cgroup=forking.cgroup_of(config),
                rootfs=str((config.get("root") or {}).get("path", "")),
            )
            pid = forking.StandIn(self._daemon, _attach(entry), process, console).start(config, bundle)
            entry.save_process(pid)
            self._write_pid(pid)
        except BaseException:
            self._undo(entry)
            raise
        return 0

    def do_start(self) -> int:
        """Let the container's process run."""
        self._daemon.call("start", container=self._find().container)
        return 0

    def do_state(self) -> int:
        """Print the state of a container (runtime-spec, State)."""
        print_json(self._state(self._find()))
        return 0

    def do_kill(self) -> int:
        """Send a signal to the container's first process, also with --all: SIGKILL ends the others with it."""
        name = self._arguments.operands[1] if len(self._arguments.operands) > 1 else "TERM"
        self._daemon.call("kill", container=self._find().container, signal=name)
        return 0

    def do_delete(self) -> int:
        """Remove a container that has ended; with --force any, and none as well."""
        force = "force" in self._own
        try:
            entry = self._find()
        except ContainerMissing:
            if force:
                return 0
            raise
        if not force and (status := self._state(entry)["status"]) == "running":
            raise CommandError(f"cannot delete container {entry.id} that is not stopped: {status}")
        self._remove(entry)
        return 0

    def do_exec(self) -> int:
        """Run another process in a container: in the background with --detach, else to its end."""
        self._refuse_descriptors()
        entry, console = self._find(), self._own.get("console-socket")
        config = read_config(entry.values["bundle"])
        process = self._process(config)
        if process.get("terminal") and not console:
            raise CommandError("a process with a terminal needs --console-socket")
        if not process.get("terminal"):
            console = ""
        request = {"name": "exec", "container": entry.container, "process": process}
        pid = forking.StandIn(self._daemon, request, process, console).start(config)
        self._write_pid(pid)
        return 0 if "detach" in self._own else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def do_list(self) -> int:
        """Print the containers of the root directory: a table, or JSON, or with --quiet their ids."""
        states = [] if "quiet" in self._own else [self._state(entry) for entry in self._store.all()]
        if "quiet" in self._own:
            say("\n".join(entry.id for entry in self._store.all()))
        elif self._own.get("format") == "json":
            print_json(states)
        else:
            say(f"{'ID':<20} {'PID':<8} {'STATUS':<10} {'BUNDLE':<40} CREATED")
            for state in states:
                say("{id:<20} {pid:<8} {status:<10} {bundle:<40} {created}".format(**state))
        return 0

    def do_features(self) -> int:
        """Print what this runtime can do (runtime-spec, Features)."""
        print_json(
            {
                "ociVersionMin": "1.0.0",
                "ociVersionMax": RUNTIME_SPEC,
                "hooks": [],
                "mountOptions": ["ro", "rw", "nosuid", "nodev", "noexec", "bind", "rbind", "rprivate", "rslave"],
                "linux": {
                    "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "uts"],
                    "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False},
                    "seccomp": {"enabled": True},
                    "apparmor": {"enabled": False},
                    "selinux": {"enabled": False},
                },
            }
        )
        return 0

    def _find(self) -> Entry:
        return self._store.find(self._arguments.container_id)

    def _state(self, entry: Entry) -> dict[str, Any]:
        status = self._daemon.call("state", container=entry.container)["status"]
        if not entry.pid:  # It was killed, and the container ends a moment later.
            status = "stopped"
        return {
            "ociVersion": RUNTIME_SPEC,
            "id": entry.id,
            "pid": entry.pid if status != "stopped" else 0,
            "status": status,
            "bundle": entry.values["bundle"],
            "rootfs": entry.values["rootfs"],
            "created": entry.values["created"],
            "annotations": entry.values["annotations"],
            "owner": "",
        }

    def _process(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the process to run: that of --process, or the container's own with another command."""
        if path := self._own.get("process"):
            return read_json(path)
        command = self._arguments.operands[1:]
        if not command:
            raise CommandError("vmsandbox-oci exec needs --process, or a command")
        process = {**config["process"], "args": command, "terminal": "tty" in self._own}
        process["env"] = [*process.get("env", ()), *self._own.repeated("env")]
        if "cwd" in self._own:
            process["cwd"] = self._own.get("cwd")
        if "user" in self._own:
            process["user"] = _user(self._own.get("user"), self._own.repeated("additional-gids"))
        return process

    def _refuse_descriptors(self) -> None:
        if self._own.get("preserve-fds", "0") not in ("", "0"):
            raise CommandError("--preserve-fds: a process in a machine cannot be given descriptors of the host")

    def _write_pid(self, pid: int) -> None:
        if path := self._own.get("pid-file"):
            with open(f"{path}.new", "w", encoding="ascii") as file:
                file.write(str(pid))
            os.replace(f"{path}.new", path)

    def _undo(self, entry: Entry) -> None:
        """Remove what a `create` that failed has made; its own error is the one to tell."""
        with contextlib.suppress(CommandError, OSError):
            self._remove(entry)

    def _remove(self, entry: Entry) -> None:
        answer = self._daemon.call("delete", container=entry.container) if entry.container else {}
        _end(entry)
        for path in {str(entry.values.get("cgroup", "")), str(answer.get("cgroup", ""))}:
            cgroups.remove(path)
        entry.remove()


def _attach(entry: Entry) -> dict[str, str]:
    return {"name": "attach", "container": entry.container}


def _end(entry: Entry) -> None:
    """Wait for the process on the host, which ends with the container; kill it where it does not."""
    deadline = time.monotonic() + _GONE
    while entry.pid and time.monotonic() < deadline:
        time.sleep(0.01)
    if pid := entry.pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _user(text: str, groups: list[str]) -> dict[str, Any]:
    uid, _, gid = text.partition(":")
    try:
        return {"uid": int(uid), "gid": int(gid or 0), "additionalGids": [int(group) for group in groups]}
    except ValueError:
        raise CommandError(f"the user {text!r} is not UID[:GID]") from None


def read_json(path: str) -> dict[str, Any]:
    """Return the object in a file. Raises CommandError."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except OSError as error:
        raise CommandError(f"open {path}: {error.strerror}") from None
    except ValueError as error:
        raise CommandError(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise CommandError(f"{path} is not a JSON object")
    return found


def read_config(bundle: str) -> dict[str, Any]:
    """Return a bundle's config.json, whose fields the daemon checks in full. Raises CommandError."""
    path = os.path.join(bundle, "config.json")
    config = read_json(path)
    for field in ("process", "root", "linux"):
        if not isinstance(config.get(field) or {}, dict):
            raise CommandError(f"{path}: {field} is not a JSON object")
    return config


def print_json(value: object) -> None:
    """Print a document."""
    say(json.dumps(value, indent=2))


def say(text: str) -> None:
    """Print a line, unless it is empty."""
    if text:
        sys.stdout.write(f"{text}\n")
