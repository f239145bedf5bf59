"""Making the process that stands for a process of a container.

It is forked, and orphaned by the end of the command: the caller is the subreaper of its descendants, and so its parent
from then on.
"""

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Any, NoReturn

from vmsandbox.oci_command import cgroups, console, namespaces
from vmsandbox.oci_command.daemon import Connection, Daemon
from vmsandbox.oci_command.errors import CommandError
from vmsandbox.oci_command.memory_kill import MemoryKill
from vmsandbox.oci_command.proxy import LOST, Proxy

_FD_LIMIT = 1024


class StandIn:
    """The process that is to be forked."""

    def __init__(
        self, daemon: Daemon, request: Mapping[str, Any], process: Mapping[str, Any], console: str | socket.socket
    ) -> None:
        """Name it; `start` forks it.

        Args:
            daemon: is asked for the streams.
            request: the call that is made for them, with its arguments.
            process: the runtime-spec's process, for the size of its window.
            console: the socket that is given the terminal, or its path; empty: there is none.
        """
        self._daemon = daemon
        self._request = request
        self._process = process
        self._console = console

    def start(self, config: Mapping[str, Any], bundle: str = "", *, systemd: bool = False) -> int:
        """Fork it, and return its pid when it is connected.

        Args:
            config: the container's config.json; its cgroup is the process's.
            bundle: the directory of config.json, for the process that stands for the container itself: it has
                namespaces of its own, outlives a restart of the daemon, and is orphaned at once. Empty: it is a child.
            systemd: have systemd make the cgroup.

        Raises:
            CommandError: the reason why it does not run.
        """
        reading, writing = os.pipe2(os.O_CLOEXEC)
        child = os.fork()
        if child == 0:
            os.close(reading)
            self._run_to_its_end(writing, config, bundle, systemd=systemd)
        os.close(writing)
        with open(reading, "rb") as pipe:
            said = dict(line.partition(b" ")[::2] for line in pipe.read().splitlines())
        if bundle or b"ready" not in said:
            os.waitpid(child, 0)
        if b"ready" not in said:
            reason = said.get(b"error", b"the container's process on the host has died")
            raise CommandError(reason.decode(errors="replace"))
        return int(said.get(b"pid", child))

    def _run_to_its_end(self, ready: int, config: Mapping[str, Any], bundle: str, *, systemd: bool) -> NoReturn:
        """Be the process, and end: whatever happens, the code of the command does not go on in it."""
        status = LOST
        try:
            status = self._run(ready, config, bundle, systemd=systemd)
        except Exception as error:
            with contextlib.suppress(OSError):
                os.write(ready, f"error {error!r}\n".encode())
        finally:
            os._exit(status)

    def _run(self, ready: int, config: Mapping[str, Any], bundle: str, *, systemd: bool) -> int:
        try:
            _join_cgroup(cgroups.cgroup_of(config), systemd=systemd)
            if bundle:
                namespaces.enter(config)
                if pid := os.fork():
                    os.write(ready, b"pid %d\n" % pid)
                    return 0
            proxy = self._prepare(ready, config, bundle)
        except (CommandError, OSError) as error:
            os.write(ready, f"error {error}\n".encode())
            return LOST
        os.write(ready, b"ready\n")
        os.close(ready)
        return proxy.run()

    def _prepare(self, ready: int, config: Mapping[str, Any], bundle: str) -> Proxy:
        os.setsid()
        os.chdir("/")
        terminal = self._give_terminal()
        connection = self._connect()
        kept = {ready, connection.socket.fileno(), *(() if terminal is None else (terminal,))}
        if not bundle:
            _close_others(kept)
            return Proxy(connection, None, terminal)
        held = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        memory_kill = MemoryKill(held, cgroups.memory_limits_of(cgroups.cgroup_of(config)))
        kept |= {*memory_kill.descriptors, self._daemon.hold_directory()}
        namespaces.take_root(bundle, config)
        _close_others(kept)
        return Proxy(connection, self._connect, terminal, memory_kill)

    def _connect(self) -> Connection:
        return self._daemon.open(**self._request)

    def _give_terminal(self) -> int | None:
        if not self._console:
            return None
        terminal = console.give(self._console)
        size = self._process.get("consoleSize") or {}
        if size.get("width") and size.get("height"):
            console.set_window(terminal, size["width"], size["height"])
        _let_go_of_streams()
        return terminal


def _join_cgroup(path: str, *, systemd: bool) -> None:
    if systemd:
        from vmsandbox.oci_command.systemd import enter_scope

        enter_scope(path)
    cgroups.join(path)


def _let_go_of_streams() -> None:
    """With a terminal the standard streams are the command's own, and the caller waits for their end."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.close(null)


def _close_others(kept: set[int]) -> None:
    """Close what the caller has left open: it may wait for the end of that."""
    for fd in range(3, _FD_LIMIT):
        if fd not in kept:
            with contextlib.suppress(OSError):
                os.close(fd)
