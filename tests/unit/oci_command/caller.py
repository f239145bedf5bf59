"""The command itself, as a caller runs it, against a door whose containers are processes of this host."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.unit.oci.configs import config, namespaces
from vmsandbox.oci_command.store import Store

CHECKOUT = Path(__file__).parents[3]
HERE = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r})"
PROGRAM = f"{HERE}; from vmsandbox.oci_command.__main__ import main; sys.exit(main())"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="it makes namespaces")


@dataclass
class Caller:
    """Runs the command; it is the parent of what a command leaves."""

    directory: Path
    commands: list[int] = field(default_factory=list)
    """The commands that run."""
    cgroup: str = ""

    async def run(self, *words: str, stdin: int = subprocess.DEVNULL, **more: Any) -> tuple[int, str, str]:
        """Return exit status, output and errors."""
        with (self.directory / "out").open("wb") as out, (self.directory / "err").open("wb") as err:
            code = await self.quietly(*words, stdin=stdin, stdout=out, stderr=err, **more)
        return code, self.printed("out"), self.printed("err")

    async def quietly(self, *words: str, **more: Any) -> int:
        """Return the exit status."""
        paths = ("--root", str(self.directory / "root"), "--socket", str(self.directory / "oci.sock"))
        log = ("--log", str(self.directory / "log"), "--log-format=json")
        line = [sys.executable, "-ISc", PROGRAM, *log, *paths, *words]
        process = await asyncio.create_subprocess_exec(*line, env={}, **more)
        self.commands.append(process.pid)
        try:
            return await process.wait()
        finally:
            self.commands.remove(process.pid)

    def printed(self, name: str) -> str:
        """Return what was printed, by the process that a command has left, too."""
        return (self.directory / name).read_text()

    def bundle(self, *command: str, **process: Any) -> str:
        """Make a bundle."""
        linux = {"namespaces": namespaces("pid", "network", "ipc", "uts", "mount"), "cgroupsPath": self.cgroup}
        (self.directory / "rootfs/proc").mkdir(parents=True, exist_ok=True)
        (self.directory / "rootfs/v").mkdir(exist_ok=True)
        mounts = [{"destination": "/v", "type": "bind", "source": ".", "options": ["rbind"]}]
        document = config(
            linux=linux,
            process=config()["process"] | {"args": list(command)} | process,
            root={"path": "rootfs"},
            mounts=[*config()["mounts"], *mounts],
        )
        (self.directory / "config.json").write_text(json.dumps(document))
        return str(self.directory)

    async def create(self, *command: str, options: tuple[str, ...] = (), **process: Any) -> int:
        """Make the container c1; return the pid that stands for it."""
        pid_file = self.directory / "pid"
        options = ("--bundle", self.bundle(*command, **process), "--pid-file", str(pid_file), *options)
        assert await self.run("create", *options, "c1") == (0, "", "")
        return int(pid_file.read_text())

    async def state(self) -> dict[str, Any]:
        """Return the state of c1."""
        code, printed, errors = await self.run("state", "c1")
        assert code == 0, errors
        found: dict[str, Any] = json.loads(printed)
        return found

    def kill_all(self) -> None:
        """Kill the processes that stand for containers."""
        for entry in Store(str(self.directory / "root")).all():
            if entry.pid:
                os.kill(entry.pid, signal.SIGKILL)


async def exit_status(pid: int) -> int:
    """Return the exit status of a process that is our child since its parent has ended."""
    return os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, pid, 0))[1])
