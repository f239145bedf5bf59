"""End what the laboratory runs on a host: `ending.py DIRECTORY`.

Its processes are those whose program is below DIRECTORY/versions. Pods of a daemon among them are removed through the
daemon, since machines outlive it; then all get SIGTERM, as by Ctrl-C, and SIGKILL when they have not ended in time.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_PATIENCE = 60.0
"""Seconds that a pod has to end."""
_CALL = 120.0
"""Seconds for a call of the daemon."""


def processes(directory: Path) -> dict[int, list[str]]:
    """The arguments of each process of the laboratory, by process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue  # it has just ended
            if arguments[0].startswith(f"{directory}/"):
                found[int(entry.name)] = arguments
    return found


def remove_pods(serving: list[str]) -> str:
    """Have a daemon remove its pods; return what it says where it cannot.

    Args:
        serving: the daemon's arguments. What stands before `serve` names its program and its configuration.
    """
    program = serving[: serving.index("serve")]
    try:
        for pod in json.loads(_call(*program, "pods", "--output", "json")):
            _call(*program, "rm", "--force", pod["id"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        return f"the daemon's pods were not removed: {getattr(error, 'stderr', '') or error}"
    return ""


def _call(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=_CALL, check=True).stdout


def end(directory: Path, patience: float = _PATIENCE) -> int:
    """End all processes; return how many had to be killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        left = processes(directory)
        for pid in left:
            _signal(pid, number)
        deadline = time.monotonic() + patience
        while processes(directory) and time.monotonic() < deadline:
            time.sleep(0.1)
    return len(left)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def main(directory: Path) -> None:
    """End everything, and say what a person should know."""
    here = {directory, directory.resolve()}
    found = {pid: arguments for each in here for pid, arguments in processes(each).items()}
    for arguments in found.values():
        if "serve" in arguments and (trouble := remove_pods(arguments)):
            sys.exit(trouble)
    killed = sum(end(each) for each in here)
    if found:
        print(f"{len(found)} processes ended" + (f", {killed} of them killed" if killed else ""))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
