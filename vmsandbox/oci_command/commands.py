"""The commands of a container's life. Their output, and the phrases of their errors, are runc's: callers look for them.

The others are in `controls`, `execution` and `inspection`.
"""

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

from vmsandbox.oci_command import cgroups, foreground, forking, hooks, namespaces
from vmsandbox.oci_command.base import RUNTIME_SPEC, check_root, read_config
from vmsandbox.oci_command.controls import Controls
from vmsandbox.oci_command.errors import CommandError, ContainerMissing
from vmsandbox.oci_command.execution import Console, Execution, terminal_wanted
from vmsandbox.oci_command.inspection import Inspection
from vmsandbox.oci_command.store import Entry, now

_GONE = 10.0
"""Seconds for which `delete` waits for the container's process on the host to end by itself."""

_NOT_STARTED = {
    "running": "cannot start an already running container",
    "paused": "cannot start an already running container",
    "stopped": "cannot start a container that has stopped",
}


class Commands(Execution, Controls, Inspection):
    """The commands, by their names; each prints, and returns the exit status."""

    def do_create(self) -> int:
        """Make a container, and the process that stands for it; the caller's process waits for `start`."""
        bundle, config = self._read_bundle()
        console = terminal_wanted(config.get("process") or {}, self._own.get("console-socket"), detached=True)
        self._create(bundle, config, console)
        return 0

    def do_start(self) -> int:
        """Let the container's process run."""
        entry = self._find()
        if reason := _NOT_STARTED.get(self._status(entry)):
            raise CommandError(reason)
        self._start(entry)
        return 0

    def do_run(self) -> int:
        """Create and start a container; without --detach wait for its end, and remove it unless it is to be kept."""
        bundle, config = self._read_bundle()
        detached = "detach" in self._own
        console = terminal_wanted(config.get("process") or {}, self._own.get("console-socket"), detached=detached)
        if not detached:
            foreground.adopt_orphans()
        entry = self._create(bundle, config, console)
        pid = entry.pid
        try:
            self._start(entry)
        except CommandError:
            self._undo(entry)
            raise
        if detached:
            return 0
        code = foreground.wait(pid, console.receive())
        if "keep" not in self._own:
            self._remove(entry)
        return code

    def do_kill(self) -> int:
        """Send a signal to the container's first process, with --all to all of its processes."""
        entry = self._find()
        name = self._arguments.operands[1] if len(self._arguments.operands) > 1 else "TERM"
        self._daemon.call("kill", container=entry.container, signal=name, all="all" in self._own)
        return 0

    def do_delete(self) -> int:
        """Remove a container that has ended; with --force any, and none as well."""
        force = "force" in self._own
        try:
            entry = self._find()
        except ContainerMissing:
            if force:
                self._store.sweep(self._arguments.container_id)
                return 0
            raise
        if not force and (status := self._status(entry)) in ("running", "paused"):
            raise CommandError(f"cannot delete container {entry.id} that is not stopped: {status}")
        self._remove(entry)
        return 0

    def _read_bundle(self) -> tuple[str, dict[str, Any]]:
        """Return the bundle of --bundle, and its config.json, whose cgroup is resolved. Raises CommandError."""
        self._refuse_descriptors()
        bundle = os.path.abspath(self._own.get("bundle") or ".")
        config = read_config(bundle)
        check_root(bundle, config)
        return bundle, cgroups.resolved(config, self._arguments.container_id, systemd=self._has_systemd_cgroup)

    @property
    def _has_systemd_cgroup(self) -> bool:
        return "systemd-cgroup" in self._arguments.options

    def _create(self, bundle: str, config: Mapping[str, Any], console: Console) -> Entry:
        entry, process = self._store.claim(self._arguments.container_id), config.get("process") or {}
        try:
            profile = self._arguments.options.get("profile")
            answer = self._daemon.call(
                "create", id=entry.id, root=self._store.root, bundle=bundle, config=config, profile=profile
            )
            wanted = config.get("hooks") or {}
            entry.save(
                id=entry.id,
                bundle=bundle,
                container=answer["container"],
                created=now(),
                annotations=config.get("annotations") or {},
                cgroup=cgroups.cgroup_of(config),
                rootfs=str((config.get("root") or {}).get("path", "")),
                fills_network=namespaces.makes_network(config),
                hooks={kind: wanted[kind] for kind in hooks.KEPT if wanted.get(kind)},
            )
            stand_in = forking.StandIn(self._daemon, _attach(entry), process, console.theirs)
            entry.save_process(stand_in.start(config, bundle, systemd=self._has_systemd_cgroup))
            for kind in ("prestart", "createRuntime"):
                hooks.run(wanted, kind, _hook_state(entry, "creating"))
            self._write_pid(entry.pid)
        except BaseException:
            self._undo(entry)
            raise
        return entry

    def _start(self, entry: Entry) -> None:
        network = f"/proc/{entry.pid}/ns/net" if entry.values.get("fills_network") else ""
        try:
            self._daemon.call("start", container=entry.container, network=network)
        except CommandError:
            self._await_end(entry)
            raise
        self._run_late_hooks(entry, "poststart", "running")

    def _await_end(self, entry: Entry) -> None:
        """Return when the process of a container that could not be started has ended: its caller asks for that next."""
        with contextlib.suppress(CommandError):
            if self._status(entry) == "stopped":
                _end(entry)

    def _run_late_hooks(self, entry: Entry, kind: str, status: str) -> None:
        """Run hooks whose failure changes nothing, and is told."""
        try:
            hooks.run(entry.values.get("hooks") or {}, kind, _hook_state(entry, status))
        except CommandError as error:
            self._log.warning(str(error))

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
        self._run_late_hooks(entry, "poststop", "stopped")


def _attach(entry: Entry) -> dict[str, str]:
    return {"name": "attach", "container": entry.container}


def _hook_state(entry: Entry, status: str) -> dict[str, Any]:
    """Return the state of a container as hooks are told it."""
    pid = {} if status == "stopped" else {"pid": entry.pid}
    kept = {key: entry.values[key] for key in ("bundle", "annotations") if entry.values.get(key)}
    return {"ociVersion": RUNTIME_SPEC, "id": entry.id, "status": status, **pid, **kept}


def _end(entry: Entry) -> None:
    """Wait for the process on the host, which ends with the container; kill it where it does not."""
    deadline = time.monotonic() + _GONE
    while entry.pid and time.monotonic() < deadline:
        time.sleep(0.01)
    if pid := entry.pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
