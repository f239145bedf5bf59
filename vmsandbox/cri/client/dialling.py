"""Connections of the client: to the daemon, or to all runtimes of this host at once."""

import asyncio
import contextlib
import errno
import grp
import os
import pwd
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path

import grpc.aio

from vmsandbox import log
from vmsandbox.cri import CHANNEL_OPTIONS
from vmsandbox.cri.client.client import CriClient
from vmsandbox.cri.client.joined import JoinedChannel, Member
from vmsandbox.errors import PermissionDenied, Unavailable, VmsandboxError

_log = log.get(__name__)

CONNECT_TIMEOUT = 5.0
"""Seconds in which a runtime that lives takes a connection."""


@contextlib.asynccontextmanager
async def connected(path: Path) -> AsyncIterator[CriClient]:
    """A client of the daemon that serves the socket; the connection lasts as long as the context.

    Raises:
        PermissionDenied: this user may not open the socket.
        Unavailable: no daemon answers there.
    """
    async with contextlib.AsyncExitStack() as stack:
        yield CriClient(await _channel(stack, path))


@contextlib.asynccontextmanager
async def connected_if_served(path: Path) -> AsyncIterator[CriClient | None]:
    """Connect to the daemon, like `connected`; yield None if no daemon listens on the socket."""
    if not _is_served(path):
        yield None
        return
    async with connected(path) as client:
        yield client


@contextlib.asynccontextmanager
async def connected_to_all(daemon: Path, others: Iterable[Path]) -> AsyncIterator[CriClient]:
    """A client of the daemon and of other runtimes, which is used like that of a single one (see `joined`).

    A runtime that does not answer is left out, with a warning, where another one does.

    Args:
        daemon: the daemon's socket.
        others: sockets of processes of `vmsandbox run`. One on which nobody listens was left by a killed process.

    Raises:
        PermissionDenied: this user may not open the daemon's socket.
        Unavailable: no runtime answers.
    """
    async with contextlib.AsyncExitStack() as stack:
        paths = [path for path in (daemon, *others) if _is_served(path)] or [daemon]
        channels = await asyncio.gather(*(_channel(stack, path) for path in paths), return_exceptions=True)
        found = dict(zip(paths, channels, strict=True))
        answering = ((path, channel) for path, channel in found.items() if not isinstance(channel, BaseException))
        members = [Member(str(path), channel, path != daemon) for path, channel in answering]
        for path, failure in found.items():
            if isinstance(failure, BaseException):
                if not members or not isinstance(failure, VmsandboxError):
                    raise failure
                _log.warning("%s is left out: %s", path, failure)
        yield CriClient(JoinedChannel(members))


async def _channel(stack: contextlib.AsyncExitStack, path: Path) -> grpc.aio.Channel:
    """A connection to a socket, until the stack is left. Raises as `connected`."""
    if not _is_served(path):
        raise Unavailable(f"no daemon serves {path}", hint="start it: `vmsandbox serve`")
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"unix:{path}", options=CHANNEL_OPTIONS))
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await channel.channel_ready()
    except TimeoutError:
        raise Unavailable(
            f"the process that serves {path} has not answered for {CONNECT_TIMEOUT:g} s",
            hint="look whether it hangs, or this host is overloaded",
        ) from None
    return channel


def _is_served(path: Path) -> bool:
    """Whether a process listens on a socket. Raises PermissionDenied if this user may not know."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # A process that hangs takes no connections, and this one would wait for it.
        number = probe.connect_ex(os.fspath(path))
    if number in (errno.EACCES, errno.EPERM):
        raise _denied(path)
    return number in (0, errno.EAGAIN)


def _denied(path: Path) -> PermissionDenied:
    """The error of a user who may not open a socket, or may not pass through one of its directories."""
    closed = next(
        (place for place in reversed(path.parents) if not os.access(place, os.X_OK, effective_ids=True)), path
    )
    status = closed.stat()
    owner, group = _name(status.st_uid, pwd.getpwuid), _name(status.st_gid, grp.getgrgid)
    root = status.st_gid == 0 or closed != path
    return PermissionDenied(
        f"you may not open {path}: {closed} belongs to {owner}:{group} and has the mode "
        f"{stat.S_IMODE(status.st_mode):04o}",
        hint="run it with sudo, or have the administrator set socket_group in config.yaml to a group of yours"
        if root
        else f"run it with sudo, or as a member of the group {group}",
    )


def _name(number: int, look: Callable[[int], Sequence[object]]) -> str:
    """The name of a user or group; the number where it has none."""
    try:
        return str(look(number)[0])
    except KeyError:
        return str(number)
