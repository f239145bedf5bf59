"""How a command runs: its coroutine, signals, errors, and what its exit status says.

| status | meaning |
|---|---|
| 0 | done |
| 1 | it failed; the error says why and what to try |
| 2 | the command line is wrong |
| 125 | `run`, `exec`, `attach`: the pod or the command could not be run, or its machine died |
| 126, 127 | `run`, `exec`: the command is not executable; there is no such command (as in podman and the shell) |
| 130, 143 | interrupted by Ctrl-C, ended by SIGTERM |

`run` and `exec` otherwise end with the status of the pod or the command.
"""

import contextlib
import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, NoReturn, TypeVar

from vmsandbox.cli import terminal
from vmsandbox.errors import FailedPrecondition, InvalidArgument, PermissionDenied, VmsandboxError, hint_for_rights

T = TypeVar("T")

FAILED = 1
RUN_FAILED = 125

_OF_CRUN = {
    re.compile(f"crun (create|exec|start): {said}", re.DOTALL): status
    for said, status in {
        "executable file `.*` not found": 127,
        r"cannot find `` in \$PATH": 127,
        "the path `.*` (exists but it is not executable|is not a regular file)": 126,
    }.items()
}
"""Words of crun about a command that it does not run, with the exit status. The CRI carries the text alone."""

_TRACEBACK = "run it again with VMSANDBOX_TRACEBACK=1 in the environment, and report the output"
_FULL = "make room on the disks of state_directory and run_directory (`vmsandbox config show` names them)"

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def status_of(command_line: Callable[[], object]) -> int:
    """Run the command line, which ends by SystemExit, and return the exit status. No exception gets past this."""
    try:
        command_line()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception as error:
        with contextlib.suppress(SystemExit):
            _end(error, FAILED)
        return FAILED
    return 0


def run(work: Coroutine[Any, Any, T], *, failed: int = FAILED) -> T:
    """The result of `work`. Errors are printed and end the process; nobody sees a traceback unless they ask for it.

    SIGINT and SIGTERM cancel it, each time they come: work that gives things back on the first may hurry on the second.

    Args:
        work: the command.
        failed: the exit status when it fails.
    """
    import asyncio  # Here, since it takes half as long to import as `--help` takes.

    from vmsandbox import log, progress

    received: list[int] = []
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    if sys.version_info < (3, 12):  # Later versions do so by themselves; a thread for each child costs the loop dearly.
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    try:
        person = progress.Listener(terminal.step, terminal.warning)
        with progress.heard_by(None if log.to_journal(os.environ) else person):
            return asyncio.run(_interruptible(work, received))
    except asyncio.CancelledError:
        raise SystemExit(128 + (received or [signal.SIGINT])[0]) from None
    except Exception as error:
        _end(error, failed)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _interruptible(work: Coroutine[Any, Any, T], received: list[int]) -> T:
    import asyncio

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
    """Print the whole story of an error and end the process; `RUN_FAILED` becomes 126 or 127 where these are meant."""
    terminal.error(error.report())
    said = str(error)
    known = (number for pattern, number in _OF_CRUN.items() if status == RUN_FAILED and pattern.search(said))
    raise SystemExit(next(known, status))


def _end(error: Exception, status: int) -> NoReturn:
    """Tell a person of any exception; `status` is the exit status where the command failed."""
    if os.environ.get("VMSANDBOX_TRACEBACK"):
        import traceback

        traceback.print_exception(error)
    while (group := getattr(error, "exceptions", None)) and isinstance(group, tuple):
        error = group[0]
    match error:
        case BrokenPipeError():  # nobody reads on, and so nothing is said
            raise SystemExit(FAILED) from None
        case VmsandboxError():
            fail(error, status)
        case UnicodeEncodeError() if error.reason == "surrogates not allowed":
            fail(InvalidArgument(f"{error.object!r}: it is not text in UTF-8"), status)
        case OSError() if error.errno is not None:
            fail(_of_the_system(error), status)
    terminal.error(f"this is a defect of vmsandbox: {type(error).__name__}: {error}\ntry: {_TRACEBACK}")
    raise SystemExit(status) from None


def _of_the_system(error: OSError) -> VmsandboxError:
    """The error of a file or a call that the system refused, and that nobody has put into better words."""
    what = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    message = f"{what}: {error.strerror}" if what else str(error.strerror)
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermissionDenied(message, hint=hint_for_rights(error.errno))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FailedPrecondition(message, hint=_FULL)
    return FailedPrecondition(message, hint="" if what else _TRACEBACK)
