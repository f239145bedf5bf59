"""Reaping what an embedded libvirt leaves: its QEMUs and virtiofsds, for whose vanishing it waits.

Libvirt starts its helpers as daemons, whose parent is then the nearest subreaper (prctl(2), PR_SET_CHILD_SUBREAPER),
or else PID 1, which on some hosts (containers without an init) reaps late or never. When it ends a machine it looks
at the process table until the process is gone: a zombie costs it 15 seconds, a reaped one none.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from vmsandbox.errors import Internal
from vmsandbox.process import name_of, stat_of

_PR_SET_CHILD_SUBREAPER = 36
_DAEMONS = ("qemu-system-", "virtiofsd")
"""How the names begin (proc(5), comm) of the programs that libvirt starts as daemons."""


@contextlib.contextmanager
def reaping() -> Iterator[None]:
    """Be the parent of libvirt's daemons, and reap them, while the context lasts.

    Raises:
        Internal: the event loop does not run in the main thread, which alone hears of children's ends.
    """
    if threading.current_thread() is not threading.main_thread():
        raise Internal("an embedded libvirt needs the event loop of the main thread")
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, reap)
    _be_subreaper(True)
    try:
        reap()  # what has died since an earlier context
        yield
    finally:
        _be_subreaper(False)
        loop.remove_signal_handler(signal.SIGCHLD)


def reap() -> None:
    """Reap the daemons among our children that have ended, and no other child: those have owners who wait for them."""
    session = os.getsid(0)
    for pid in _children():
        if _is_dead_daemon(pid, session):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _be_subreaper(yes: bool) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)


def _children() -> Iterator[int]:
    """Yield our children that were orphans: the kernel gives them to the first thread of a subreaper, which is ours."""
    return map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def _is_dead_daemon(pid: int, session: int) -> bool:
    """Tell a dead daemon by name and session.

    A QEMU that libvirt itself waits for is still in our session, and a program that this process has started leads its
    own (`process.run`): both have somebody who waits for them. A daemon has lost the process that led its session.
    """
    try:
        fields = stat_of(pid)
        return fields[0] == "Z" and int(fields[3]) not in (session, pid) and name_of(pid).startswith(_DAEMONS)
    except OSError:
        return False
