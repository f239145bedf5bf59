"""The tables of requests and events, and how large the frames of an agent are."""

from vmsandbox.protocol.messages.containers import (
    CreateContainer,
    DeleteContainer,
    Exit,
    ListContainers,
    SignalContainer,
    StartContainer,
    UpdateResources,
)
from vmsandbox.protocol.messages.guest import (
    AdjustClock,
    AttachImage,
    ConfigureGuest,
    DetachImage,
    FitMachine,
    MakeTmpfs,
    ReadClock,
    ReleaseDisk,
    Shutdown,
    UseProcessors,
)
from vmsandbox.protocol.messages.measures import MeasureContainers
from vmsandbox.protocol.messages.processes import FreezeContainer, ListProcesses
from vmsandbox.protocol.messages.streams import EndExecs, Exec, OpenPort, OpenStream, Resize, SignalExec
from vmsandbox.protocol.messages.volumes import WriteVolume

Request = (
    ConfigureGuest
    | ReadClock
    | AdjustClock
    | UseProcessors
    | MakeTmpfs
    | WriteVolume
    | AttachImage
    | DetachImage
    | ReleaseDisk
    | CreateContainer
    | StartContainer
    | SignalContainer
    | DeleteContainer
    | UpdateResources
    | FreezeContainer
    | Exec
    | SignalExec
    | EndExecs
    | Resize
    | OpenStream
    | OpenPort
    | ListContainers
    | MeasureContainers
    | ListProcesses
    | FitMachine
    | Shutdown
)

REQUESTS: dict[str, type[Request]] = {kind.METHOD: kind for kind in Request.__args__}
"""Every method and its request."""

AGENT_FRAME = 64 * 1024
"""Bytes in a control frame of the agent, its length field not counted, unless it answers one of `LARGE_ANSWERS`."""

LARGE_ANSWERS: dict[str, int] = {MeasureContainers.METHOD: 512 * 1024, ListProcesses.METHOD: 512 * 1024}
"""Bytes of the answers that may be larger, by the method."""

ERROR_TEXT = 4 * 1024
"""Characters of the message of an ERROR or a GOODBYE; an agent cuts it there."""

Event = Exit
EVENTS: dict[str, type[Event]] = {Exit.EVENT: Exit}
"""Every event's name and its dataclass."""
