"""Libvirt's Python bindings, quiet, and its event loop, of which a process has one for all connections.

Every error is raised, and shall not be written to stderr as well. A person who wants to see what libvirt does sets
LIBVIRT_LOG_OUTPUTS and LIBVIRT_LOG_FILTERS (docs/debugging.md).
"""

import os
import threading

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_fixed

from vmsandbox import log

os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null")  # read once, when the library is loaded

import libvirt
import libvirt_qemu

__all__ = ["libvirt", "libvirt_qemu", "start_event_loop"]

_log = log.get(__name__)

_PAUSE = 0.1
"""Seconds after a turn of the event loop that failed."""

_starting = threading.Lock()
_event_loop: threading.Thread | None = None


def start_event_loop() -> None:
    """Run libvirt's event loop in a thread that never ends. Has to be called before the first connection is opened."""
    global _event_loop  # noqa: PLW0603 - libvirt's own is global, too
    with _starting:
        if _event_loop is None:
            libvirt.registerErrorHandler(lambda *_: None, None)
            libvirt.virEventRegisterDefaultImpl()
            _event_loop = threading.Thread(target=_run, name="libvirt events", daemon=True)
            _event_loop.start()


def _run() -> None:
    # Without a bound, and after every kind of error: all machines depend on the loop.
    turn = Retrying(retry=retry_if_exception_type(Exception), wait=wait_fixed(_PAUSE), before_sleep=_report)
    while True:
        turn(libvirt.virEventRunDefaultImpl)


def _report(state: RetryCallState) -> None:
    _log.error("libvirt's event loop", exc_info=state.outcome.exception() if state.outcome else None)
