"""How a command runs: its coroutine, signals, errors, and what its exit status says.

| status | meaning |
|---|---|
| 0 | done |
| 1 | it failed; the error says why and what to try |
| 2 | the command line is wrong |
| 125 | `run`: the pod could not be run, or its machine died (1 to 255 otherwise are the pod's own) |
| 130, 143 | interrupted by Ctrl-C, ended by SIGTERM |
"""

import asyncio
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Coroutine
from types import FrameType
from typing import Any, NoReturn, TypeVar

from vmsandbox.cli import terminal
from vmsandbox.errors import VmsandboxError

T = TypeVar("T")

FAILED = 1
RUN_FAILED = 125

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(work: Coroutine[Any, Any, T], *, failed: int = FAILED) -> T:
    """The result of `work`. Errors are printed and end the process; nobody sees a traceback unless they ask for it.

    SIGINT and SIGTERM cancel it, each time they come: work that gives things back on the first may hurry on the second.

    Args:
        work: the command.
        failed: the exit status when it fails.
    """
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    if sys.version_info < (3, 12):  # Later versions do so by themselves; a thread for each child costs the loop dearly.
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    try:
        return asyncio.run(_interruptible(work, received))
    except asyncio.CancelledError:
        raise SystemExit(128 + (received or [signal.SIGINT])[0]) from None
    except VmsandboxError as error:
        fail(error, failed)
    except BrokenPipeError:
        sys.stderr.close()  # nobody reads on; the interpreter would complain of the rest of its buffer
        raise SystemExit(FAILED) from None
    except Exception as error:  # the last line before the user: a defect is reported as one
        _fail_internally(error, failed)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _interruptible(work: Coroutine[Any, Any, T], received: list[int]) -> T:
    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()

    def interrupt(number: int, _: FrameType | None) -> None:
        received.append(number)
        with contextlib.suppress(RuntimeError):  # the loop is closed, the work has ended
            loop.call_soon_threadsafe(task.cancel)

    for number in _SIGNALS:  # Not by the loop: while it closes, it puts Python's own handlers in their place.
        signal.signal(number, interrupt)
        signal.siginterrupt(number, False)
    return await task


def fail(error: VmsandboxError, status: int) -> NoReturn:
    """Print the whole story of an error and end the process."""
    terminal.error(error.report())
    raise SystemExit(status)


def _fail_internally(error: Exception, status: int) -> NoReturn:
    if os.environ.get("VMSANDBOX_TRACEBACK"):
        traceback.print_exception(error)
    group = getattr(error, "exceptions", None)
    with contextlib.suppress(TypeError, IndexError):
        error = group[0] if group else error
    terminal.error(
        f"this is a defect of vmsandbox: {type(error).__name__}: {error}\n"
        "try: run it again with VMSANDBOX_TRACEBACK=1 in the environment, and report the output"
    )
    raise SystemExit(status)
