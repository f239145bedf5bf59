"""The commands that look at containers: state, list, ps, events; and those about the runtime: features, spec."""

import json
import os
import re
import select
import time
from typing import Any

from vmsandbox.oci_command import cgroups
from vmsandbox.oci_command.base import RUNTIME_SPEC, CommandBase, print_json, say
from vmsandbox.oci_command.errors import CommandError
from vmsandbox.oci_command.starter import STARTER
from vmsandbox.oci_command.store import Entry

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PS = "{:<8} {:>7} {:>7} {:>2} {:<5} {:<8} {:>8} {}"


class Inspection(CommandBase):
    """The commands; see the module."""

    def do_state(self) -> int:
        """Print the state of a container (runtime-spec, State)."""
        print_json(self._state(self._find()))
        return 0

    def do_list(self) -> int:
        """Print the containers of the root directory: a table, or JSON, or with --quiet their ids."""
        states = [] if "quiet" in self._own else [self._state(entry) for entry in self._store.all()]
        if "quiet" in self._own:
            say("\n".join(entry.id for entry in self._store.all()))
        elif self._format() == "json":
            print_json(states)
        else:
            say(f"{'ID':<20} {'PID':<8} {'STATUS':<10} {'BUNDLE':<40} CREATED")
            for state in states:
                say("{id:<20} {pid:<8} {status:<10} {bundle:<40} {created}".format(**state))
        return 0

    def do_ps(self) -> int:
        """Print the processes: as JSON the pids on the host, with which callers look there; else those in the machine.

        A process of a container is in the machine; on the host another one stands for it.
        """
        entry, as_json = self._find(), self._format() == "json"
        running = self._status(entry) != "stopped"
        if as_json:
            print_json((self._host_pids(entry) if running else []) or None, indent=None)
            return 0
        if any(option not in ("-ef", "ef") for option in self._arguments.operands[1:]):
            raise CommandError("the table of a machine's processes has one form: options of ps(1) are not supported")
        processes = self._daemon.call("processes", container=entry.container)["processes"] if running else []
        say(_PS.format("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"))
        for each in processes:
            say(_row(each))
        return 0

    def do_events(self) -> int:
        """Print what a container uses, as JSON, and when its processes were killed for memory; to the container's end.

        With --stats once.
        """
        interval = _seconds(self._own.get("interval", "5s"))
        entry = self._find()
        if self._status(entry) == "stopped":
            raise CommandError(f"container with id {entry.id} is not running")
        if "stats" in self._own:
            print_json({"type": "stats", "id": entry.id, "data": self._stats(entry)}, indent=None)
            return 0
        killed = 0
        while not _ended(entry.pid, interval):
            stats = self._stats(entry)
            if (now_killed := stats["memory"]["raw"]["oom_kill"]) > killed:
                killed = now_killed
                print_json({"type": "oom", "id": entry.id}, indent=None)
            print_json({"type": "stats", "id": entry.id, "data": stats}, indent=None)
        return 0

    def do_features(self) -> int:
        """Print what this runtime can do (runtime-spec, Features)."""
        print_json(
            {
                "ociVersionMin": "1.0.0",
                "ociVersionMax": RUNTIME_SPEC,
                "hooks": ["prestart", "createRuntime", "startContainer", "poststart", "poststop"],
                "mountOptions": ["ro", "rw", "nosuid", "nodev", "noexec", "bind", "rbind", "rprivate", "rslave"],
                "linux": {
                    "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "uts"],
                    "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": False},
                    "seccomp": {"enabled": True},
                    "apparmor": {"enabled": False},
                    "selinux": {"enabled": False},
                },
            }
        )
        return 0

    def do_spec(self) -> int:
        """Write a config.json to begin with into a bundle. Raises CommandError: there is one."""
        if "rootless" in self._own:
            raise CommandError("--rootless: the daemon's socket is for root alone")
        bundle = self._own.get("bundle") or "."
        if not os.path.isdir(bundle):
            raise CommandError(f"chdir {bundle}: No such file or directory")
        try:
            with open(os.path.join(bundle, "config.json"), "x", encoding="utf-8") as file:
                file.write(json.dumps(STARTER, indent="\t") + "\n")
        except FileExistsError:
            raise CommandError("File config.json exists. Remove it first") from None
        return 0

    def _format(self) -> str:
        """Return the value of --format. Raises CommandError."""
        if (wanted := self._own.get("format", "table")) not in ("table", "json"):
            raise CommandError("invalid format option")
        return wanted

    def _host_pids(self, entry: Entry) -> list[int]:
        return cgroups.pids(str(entry.values.get("cgroup", ""))) or [entry.pid]

    def _stats(self, entry: Entry) -> dict[str, Any]:
        stats: dict[str, Any] = self._daemon.call("stats", container=entry.container)["stats"]
        return stats


def _row(process: dict[str, Any]) -> str:
    """Return a line as that of `ps -ef`. A terminal is not known here."""
    started, cpu = process["started"] / 1e9, process["cpu"] // 1_000_000_000
    age = max(1.0, time.time() - started)
    same_day = time.localtime(started)[:3] == time.localtime()[:3]
    began = time.strftime("%H:%M" if same_day else "%b%d", time.localtime(started))
    spent = f"{cpu // 3600:02}:{cpu // 60 % 60:02}:{cpu % 60:02}"
    share = min(99, int(100 * cpu / age))
    return _PS.format(process["uid"], process["pid"], process["parent"], share, began, "?", spent, process["command"])


def _seconds(text: str) -> float:
    """Return a duration as Go writes it. Raises CommandError."""
    found = _DURATION.fullmatch(text)
    if not found and text != "0":
        raise CommandError(f'invalid value "{text}" for flag -interval: parse error')
    if not found or not float(found[1]):
        raise CommandError("duration interval must be greater than 0")
    return float(found[1]) * _SECONDS[found[2]]


def _ended(pid: int, seconds: float) -> bool:
    """Wait that long, or until the process has ended; return whether it has."""
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        return bool(select.select([process], [], [], seconds)[0])
    finally:
        os.close(process)
