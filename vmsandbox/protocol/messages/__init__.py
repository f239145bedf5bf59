"""The messages of the control channel (docs/protocol.md tells their order and meaning).

The host dials `CONTROL_PORT` and sends one `Hello`; the agent answers `HelloReply`. Then requests, responses,
cancellations, events and acknowledgements travel as `Envelope`s in any order. Every request dataclass names the
dataclass of its result, so that both ends look the method up in one table, `REQUESTS`.
"""

from vmsandbox.protocol.messages.containers import (
    MAX_CONTAINERS,
    MAX_GROUPS,
    POD_NAMESPACE,
    Containers,
    CreateContainer,
    Created,
    DeleteContainer,
    Exit,
    GuestDevice,
    ListContainers,
    OciState,
    ProcessUser,
    SignalContainer,
    StartContainer,
    UpdateResources,
    User,
)
from vmsandbox.protocol.messages.envelope import (
    CONTROL_PORT,
    FEATURES_NAMED,
    READY_PORT,
    STREAM_PORT,
    VERSION,
    VERSIONS,
    Envelope,
    Hello,
    HelloProof,
    HelloReply,
    Kind,
)
from vmsandbox.protocol.messages.guest import (
    AdjustClock,
    AttachImage,
    Clock,
    ConfigureGuest,
    DetachImage,
    Dns,
    Empty,
    Interface,
    MakeTmpfs,
    ReadClock,
    ReleaseDisk,
    Route,
    Shutdown,
    UserNamespaceMapping,
)
from vmsandbox.protocol.messages.measures import (
    MAX_DISKS,
    CpuMeasures,
    DiskMeasures,
    FileSystem,
    LayerMeasures,
    MeasureContainers,
    Measured,
    Measures,
    MemoryMeasures,
    Pressure,
    ProcessMeasures,
    Throttling,
)
from vmsandbox.protocol.messages.streams import (
    EndExecs,
    Exec,
    OpenPort,
    OpenStream,
    Resize,
    SignalExec,
    Stream,
    StreamToken,
)
from vmsandbox.protocol.messages.volumes import MAX_ENTRIES, VolumeEntry, WriteVolume

__all__ = [
    "AGENT_FRAME",
    "CONTROL_PORT",
    "ERROR_TEXT",
    "EVENTS",
    "FEATURES_NAMED",
    "LARGE_ANSWERS",
    "MAX_CONTAINERS",
    "MAX_DISKS",
    "MAX_ENTRIES",
    "MAX_GROUPS",
    "POD_NAMESPACE",
    "READY_PORT",
    "REQUESTS",
    "STREAM_PORT",
    "VERSION",
    "VERSIONS",
    "AdjustClock",
    "AttachImage",
    "Clock",
    "ConfigureGuest",
    "Containers",
    "CpuMeasures",
    "CreateContainer",
    "Created",
    "DeleteContainer",
    "DetachImage",
    "DiskMeasures",
    "Dns",
    "Empty",
    "EndExecs",
    "Envelope",
    "Event",
    "Exec",
    "Exit",
    "FileSystem",
    "GuestDevice",
    "Hello",
    "HelloProof",
    "HelloReply",
    "Interface",
    "Kind",
    "LayerMeasures",
    "ListContainers",
    "MakeTmpfs",
    "MeasureContainers",
    "Measured",
    "Measures",
    "MemoryMeasures",
    "OciState",
    "OpenPort",
    "OpenStream",
    "Pressure",
    "ProcessMeasures",
    "ProcessUser",
    "ReadClock",
    "ReleaseDisk",
    "Request",
    "Resize",
    "Route",
    "Shutdown",
    "SignalContainer",
    "SignalExec",
    "StartContainer",
    "Stream",
    "StreamToken",
    "Throttling",
    "UpdateResources",
    "User",
    "UserNamespaceMapping",
    "VolumeEntry",
    "WriteVolume",
]

Request = (
    ConfigureGuest
    | ReadClock
    | AdjustClock
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
    | Exec
    | SignalExec
    | EndExecs
    | Resize
    | OpenStream
    | OpenPort
    | ListContainers
    | MeasureContainers
    | Shutdown
)

REQUESTS: dict[str, type[Request]] = {kind.METHOD: kind for kind in Request.__args__}
"""Every method and its request."""

AGENT_FRAME = 64 * 1024
"""Bytes in a control frame of the agent, its length field not counted, unless it answers one of `LARGE_ANSWERS`."""

LARGE_ANSWERS: dict[str, int] = {MeasureContainers.METHOD: 512 * 1024}
"""Bytes of the answers that may be larger, by the method."""

ERROR_TEXT = 4 * 1024
"""Characters of the message of an ERROR or a GOODBYE; an agent cuts it there."""

Event = Exit
EVENTS: dict[str, type[Event]] = {Exit.EVENT: Exit}
"""Every event's name and its dataclass."""
