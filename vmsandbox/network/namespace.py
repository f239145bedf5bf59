"""Named network namespaces, as ip-netns(8) keeps them, and work done inside one.

Work runs in a thread that is made for it, enters the namespace and ends with the work: no thread that is used again
is ever in another namespace than the process, and nothing is forked. The asyncio loop is not blocked.
"""

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from pyroute2 import IPRoute, NetlinkError, netns

from vmsandbox import aio
from vmsandbox.errors import AlreadyExists, Internal, NotFound, PermissionDenied, VmsandboxError, hint_for_rights
from vmsandbox.process import NETWORK, enter, name_network, unshare

DIRECTORY = Path("/run/netns")
"""Where ip-netns(8), the CNI plugins and people look for namespaces."""

# Two first makers of a namespace would each mount the directory over itself, hiding what is in it.
_directory_lock = threading.Lock()

T = TypeVar("T")


async def create(path: Path) -> None:
    """Make a namespace that stays until it is removed.

    Raises:
        AlreadyExists: the path exists.
        PermissionDenied: the caller is not root.
    """
    await _in_own_thread(f"make the network namespace {path}", lambda: _create(path))


async def adopt(source: Path, path: Path) -> None:
    """Give somebody else's namespace a name of ours, which `remove` takes away again.

    Raises:
        NotFound: there is no namespace at `source`.
        AlreadyExists: `path` exists.
        PermissionDenied: the caller is not root.
    """
    await _in_own_thread(f"join the network namespace {source}", lambda: _adopt(source, path))


def exists(path: Path) -> bool:
    """Whether there is a namespace at the path. A plain file there is what a crash inside `create` leaves."""
    try:
        return path.stat().st_dev != path.parent.stat().st_dev
    except FileNotFoundError:
        return False


async def remove(path: Path) -> None:
    """Take a namespace's name away; with its last user the kernel ends it. Succeeds where there is none."""
    await _in_own_thread(f"remove the network namespace {path}", lambda: _remove(path))


async def run(step: str, work: Callable[[IPRoute], T], path: Path | None = None) -> T:
    """Do `work` with a netlink connection to the namespace at `path` (None: the host's own), in its own thread.

    Files under /proc/sys/net that `work` opens are those of the namespace. On cancellation the work goes on to its
    end (it takes milliseconds), and then the cancellation is raised.

    Args:
        step: what the work does, as an infinitive, for the error.
        work: is given the connection; it may not keep it.
        path: the namespace.

    Raises:
        NotFound: there is no such namespace, or the work did not find what it needs.
        AlreadyExists: the work wanted to make what exists.
        PermissionDenied: the caller is not root.
        Internal: the kernel refused for another reason.
    """
    return await _in_own_thread(step, lambda: _enter_and_work(work, path))


def _enter_and_work(work: Callable[[IPRoute], T], path: Path | None) -> T:
    if path is not None:
        enter(path, NETWORK)
    with IPRoute() as ipr:
        return work(ipr)


def _create(path: Path) -> None:
    unshare(NETWORK)
    _name(path)


def _adopt(source: Path, path: Path) -> None:
    """Others keep theirs in the same directory: that is not mounted over itself, as `_name` does it."""
    enter(source, NETWORK)
    name_network(path)


def _name(path: Path) -> None:
    """Give a name to the namespace of this thread."""
    with _directory_lock:
        # "The namespace of process thread-self" is this thread's; /proc/self is that of the process.
        netns.attach(str(path), "thread-self")


def _remove(path: Path) -> None:
    if path.exists():
        netns.remove(str(path))


async def _in_own_thread(step: str, work: Callable[[], T]) -> T:
    async def in_thread() -> T:
        executor = ThreadPoolExecutor(1, "vmsandbox-network")
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, work)
        finally:
            executor.shutdown(wait=False)

    try:
        return await aio.to_its_end(in_thread())
    except (OSError, NetlinkError) as error:
        raise _translated(error).at(f"cannot {step}") from error


def _translated(error: OSError | NetlinkError) -> VmsandboxError:
    code = error.code if isinstance(error, NetlinkError) else error.errno
    kind = {
        errno.EEXIST: AlreadyExists, errno.ENOENT: NotFound, errno.ENODEV: NotFound,
        errno.EPERM: PermissionDenied, errno.EACCES: PermissionDenied,
    }.get(code or 0, Internal)  # fmt: skip
    return kind(os.strerror(code) if code else str(error), hint=hint_for_rights(code))
