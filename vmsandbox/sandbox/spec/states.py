"""Which call is legal in which state: the one table behind every FailedPrecondition of the runtime service."""

import enum

from vmsandbox.errors import FailedPrecondition
from vmsandbox.model import ContainerState, SandboxState


class SandboxCall(enum.Enum):
    """The calls on a sandbox. Stopping and removing are always legal, as the CRI requires."""

    CREATE_CONTAINER = "create a container in"
    PORT_FORWARD = "reach a port of"
    MEASURE = "measure"
    UPDATE = "resize"
    DEBUG = "run a command in the guest of"


class ContainerCall(enum.Enum):
    """The calls on a container. Stopping and removing are always legal, as the CRI requires."""

    START = "start"
    SIGNAL = "send a signal to"
    EXEC = "run a command in"
    ATTACH = "attach to"
    UPDATE = "update"
    REOPEN_LOG = "reopen the log of"
    FREEZE = "pause or resume"
    LIST_PROCESSES = "list the processes of"


_SANDBOX: dict[SandboxCall, frozenset[SandboxState]] = {
    SandboxCall.CREATE_CONTAINER: frozenset({SandboxState.READY}),
    SandboxCall.PORT_FORWARD: frozenset({SandboxState.READY}),
    SandboxCall.MEASURE: frozenset({SandboxState.READY}),
    SandboxCall.UPDATE: frozenset({SandboxState.READY}),
    SandboxCall.DEBUG: frozenset({SandboxState.READY}),
}

_CONTAINER: dict[ContainerCall, frozenset[ContainerState]] = {
    ContainerCall.START: frozenset({ContainerState.CREATED}),
    ContainerCall.SIGNAL: frozenset({ContainerState.RUNNING}),
    ContainerCall.EXEC: frozenset({ContainerState.RUNNING}),
    ContainerCall.ATTACH: frozenset({ContainerState.CREATED, ContainerState.RUNNING}),  # So nothing printed is missed.
    ContainerCall.UPDATE: frozenset({ContainerState.CREATED, ContainerState.RUNNING}),
    ContainerCall.REOPEN_LOG: frozenset({ContainerState.RUNNING}),
    ContainerCall.FREEZE: frozenset({ContainerState.CREATED, ContainerState.RUNNING}),
    ContainerCall.LIST_PROCESSES: frozenset({ContainerState.CREATED, ContainerState.RUNNING}),
}


def require_sandbox(call: SandboxCall, sandbox_id: str, state: SandboxState) -> None:
    """Raise FailedPrecondition unless the call is legal in that state."""
    if state not in _SANDBOX[call]:
        raise FailedPrecondition(f"cannot {call.value} sandbox {sandbox_id}: it is {state.value}")


def require_container(call: ContainerCall, container_id: str, state: ContainerState) -> None:
    """Raise FailedPrecondition unless the call is legal in that state."""
    if state not in _CONTAINER[call]:
        raise FailedPrecondition(f"cannot {call.value} container {container_id}: it is {state.value}")
