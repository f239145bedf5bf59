"""The basis of all commands: the command line, the containers, the daemon, and the ways in and out."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from vmsandbox.oci_command.arguments import Arguments
from vmsandbox.oci_command.daemon import Daemon
from vmsandbox.oci_command.errors import CommandError
from vmsandbox.oci_command.log import Log
from vmsandbox.oci_command.store import Entry, Store

RUNTIME_SPEC = "1.0.2"


class CommandBase:
    """The common part of all commands. A command is a method `do_NAME`, which prints, and returns the exit status."""

    def __init__(self, arguments: Arguments, store: Store, daemon: Daemon, log: Log) -> None:
        """Read the command line, which all of them need."""
        self._arguments = arguments
        self._own = arguments.own
        self._store = store
        self._daemon = daemon
        self._log = log

    def run(self) -> int:
        """Run the command that is asked for. Raises CommandError."""
        command: Callable[[], int] = getattr(self, f"do_{self._arguments.command}")
        return command()

    def _find(self) -> Entry:
        return self._store.find(self._arguments.container_id)

    def _status(self, entry: Entry) -> str:
        """Return the status of a container: created, running, paused, stopped."""
        if not entry.pid:  # It was killed, and the container ends a moment later.
            return "stopped"
        status = str(self._daemon.call("state", container=entry.container)["status"])
        return "paused" if status in ("created", "running") and entry.values.get("paused") else status

    def _state(self, entry: Entry) -> dict[str, Any]:
        """Return the state of a container (runtime-spec, State), as runc tells it."""
        status = self._status(entry)
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


def read_json(path: str) -> dict[str, Any]:
    """Return the object in a file; in standard input, where the path is `-`. Raises CommandError."""
    try:
        with open(0 if path == "-" else path, encoding="utf-8", closefd=path != "-") as file:
            found = json.load(file)
    except OSError as error:
        raise CommandError(f"open {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise CommandError(f"{path} is not a JSON object")
    return found


def read_config(bundle: str) -> dict[str, Any]:
    """Return a bundle's config.json, whose fields the daemon checks in full. Raises CommandError."""
    path = os.path.join(bundle, "config.json")
    config = read_json(path)
    for field in ("process", "root", "linux", "hooks"):
        if not isinstance(config.get(field) or {}, dict):
            raise CommandError(f"{path}: {field} is not a JSON object")
    return config


def check_root(bundle: str, config: Mapping[str, Any]) -> None:
    """Raise CommandError unless the container's root is a directory: no machine is to boot for one that is not."""
    root = os.path.join(bundle, str((config.get("root") or {}).get("path", "")))
    if not os.path.isdir(root):
        raise CommandError(f"invalid rootfs: {root} is not a directory")


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Print a document."""
    say(json.dumps(value, indent=indent))


def say(text: str) -> None:
    """Print a line, unless it is empty."""
    if text:
        with open(1, "w", encoding="utf-8", closefd=False) as out:
            out.write(f"{text}\n")
