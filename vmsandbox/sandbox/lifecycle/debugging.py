"""Commands in the guest of a sandbox itself: whether they are allowed, and the line in the journal that each has."""

import contextlib
import time
from collections.abc import AsyncIterator

from vmsandbox import log
from vmsandbox.errors import FailedPrecondition, Unimplemented
from vmsandbox.guest import has_feature
from vmsandbox.model import DebugRequest
from vmsandbox.protocol.features import GUEST_COMMANDS
from vmsandbox.sandbox.containers import ContainerContext
from vmsandbox.sandbox.machines import Host, RunningMachine
from vmsandbox.sandbox.streams import ExecProcess

_lives = log.get("vmsandbox.pods")
"""The journal of the lives of pods."""

_REMAKE = "make the pod again: a guest learns whether it takes commands when its pod is made"


def debuggable(host: Host, context: ContainerContext) -> RunningMachine:
    """Return the machine of a sandbox in whose guest commands may run, as far as the host knows.

    Raises:
        FailedPrecondition: `machine.debug` of its handler is off now.
        Unimplemented: its agent cannot run them.
        Unavailable: its machine is gone.
    """
    handler = context.config.runtime_handler
    if not host.profiles.get(handler, host.profiles[""]).machine.debug:
        setting = f"machine.debug or handlers.{handler}.debug" if handler else "machine.debug"
        raise FailedPrecondition(
            f"commands in the guest of {context.pod} are not allowed: debugging is off in the daemon's configuration",
            hint=f"set {setting} to true in config.yaml, reload the daemon, and {_REMAKE}",
        )
    machine = context.running()
    if not has_feature(machine.machine.peer, GUEST_COMMANDS):
        raise Unimplemented(
            f"the agent of {context.pod} cannot run commands in the guest: an earlier version has started the machine",
            hint=_REMAKE,
        )
    return machine


@contextlib.asynccontextmanager
async def debugging(host: Host, context: ContainerContext, request: DebugRequest) -> AsyncIterator[ExecProcess]:
    """Run a command in the guest itself while the context lasts; it is in the journal. See `Execs.open_in_guest`.

    Raises:
        FailedPrecondition: it is not allowed now, or was not when the guest was configured.
        VmsandboxError: as `debuggable`; the command could not be started.
    """
    machine, begun = debuggable(host, context), time.monotonic()
    what = " ".join(request.command) or "a shell"
    with log.about(context.subject()):
        async with contextlib.AsyncExitStack() as stack:
            opening = machine.execs.open_in_guest(request.command, stdin=request.stdin, tty=request.tty)
            try:
                process = await stack.enter_async_context(opening)
            except FailedPrecondition as error:
                error.hint = _REMAKE
                raise
            _lives.warning("%s is debugged: %s runs in its guest", context.pod, what)
            try:
                yield process
            finally:
                _lives.info("%s is not debugged any more: %s, %.1f s", context.pod, what, time.monotonic() - begun)
