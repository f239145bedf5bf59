"""A host of the laboratory without ssh: its commands run here, below the same runner, with its input as lifeline."""

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from vmsandbox.errors import Unavailable, VmsandboxError
from vmsandbox.lab import Command, Connection, Hop, HostKeys, LabHost, Reach, Stopping, Streams
from vmsandbox.lab.host import LOST
from vmsandbox.lab.ssh import bootstrap, start

_LINGER = 1.0
REACH = Reach(Path("/nowhere"), HostKeys.STRICT, 1, 2)


def host(name: str, directory: Path, setup: tuple[str, ...] = ("true",)) -> LabHost:
    return LabHost(Hop(name, "192.0.2.1", 22, "root", None), None, False, str(directory), setup)


class FakeConnection(Connection):
    """`vanish` breaks it, as a host does that is switched off."""

    def __init__(self) -> None:
        self._lost = False
        self._child: subprocess.Popen[bytes] | None = None

    def vanish(self) -> None:
        self._lost = True

    def close(self) -> None:
        """Wait for the runner, which ends now."""
        self.vanish()
        if self._child:
            self._child.wait(20)

    def run(self, command: Command, streams: Streams, stopping: Stopping) -> int:
        if self._lost:
            raise Unavailable(LOST)
        pipe = subprocess.PIPE
        child = subprocess.Popen(["sh", "-c", bootstrap(sudo=False)], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        self._child = child
        readers = [_reading(child.stdout, streams.stdout), _reading(child.stderr, streams.stderr)]
        threading.Thread(target=_write, args=(child, start(command)), daemon=True).start()
        asked = stopping.asked
        while child.poll() is None and not self._lost:
            for _ in range(stopping.asked - asked):
                child.stdin.write(b"INT\n")
            asked = stopping.asked
            time.sleep(0.01)
        child.stdin.close()
        if self._lost:
            raise Unavailable(LOST)
        for reader in readers:
            reader.join(_LINGER)
        return child.returncode


def _reading(pipe, take) -> threading.Thread:
    def read() -> None:
        with pipe:
            while piece := pipe.read(1 << 16):
                take(piece)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _write(child: "subprocess.Popen[bytes]", given: bytes) -> None:
    try:
        view = memoryview(given)
        while view:
            view = view[child.stdin.write(view) :]
    except (OSError, ValueError):
        pass  # it has ended


class FakeHosts:
    """Dials hosts by name: a connection, or the error that they have."""

    def __init__(self, **errors: VmsandboxError) -> None:
        self.errors = errors
        self.connections: dict[str, FakeConnection] = {}
        self.said: list[str] = []
        self.on_dial: Callable[[str], None] = lambda name: None

    def dial(self, host: LabHost, reach: Reach) -> Connection:
        self.on_dial(host.name)
        if host.name in self.errors:
            raise self.errors[host.name]
        self.connections[host.name] = FakeConnection()
        return self.connections[host.name]

    def say(self, host: str, line: str) -> None:
        self.said.append(f"{host}: {line}")
