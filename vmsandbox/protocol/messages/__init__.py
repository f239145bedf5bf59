"""The messages of the control channel (docs/protocol.md tells their order and meaning).

The host dials `CONTROL_PORT` and sends one `Hello`; the agent answers `HelloReply`. Then requests, responses,
cancellations, events and acknowledgements travel as `Envelope`s in any order. Every request dataclass names the
dataclass of its result, so that both ends look the method up in one table, `REQUESTS`.
"""

from typing import TYPE_CHECKING

from vmsandbox.protocol.faces import face

if TYPE_CHECKING:
    from vmsandbox.protocol.messages.containers import (
        GUEST,
        MAX_CONTAINERS,
        MAX_GROUPS,
        NO_IMAGE,
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
        TimedPart,
    )
    from vmsandbox.protocol.messages.guest import (
        AdjustClock,
        AttachImage,
        Clock,
        ConfigureGuest,
        DetachImage,
        Empty,
        FitMachine,
        MakeTmpfs,
        Processors,
        ReadClock,
        ReleaseDisk,
        Shutdown,
        UseProcessors,
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
    from vmsandbox.protocol.messages.methods import (
        AGENT_FRAME,
        ERROR_TEXT,
        EVENTS,
        LARGE_ANSWERS,
        REQUESTS,
        Event,
        Request,
    )
    from vmsandbox.protocol.messages.network import Dns, Interface, Route
    from vmsandbox.protocol.messages.processes import (
        MAX_COMMAND,
        MAX_LISTED,
        FreezeContainer,
        ListedProcess,
        ListedProcesses,
        ListProcesses,
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
    "GUEST",
    "LARGE_ANSWERS",
    "MAX_COMMAND",
    "MAX_CONTAINERS",
    "MAX_DISKS",
    "MAX_ENTRIES",
    "MAX_GROUPS",
    "MAX_LISTED",
    "NO_IMAGE",
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
    "FitMachine",
    "FreezeContainer",
    "GuestDevice",
    "Hello",
    "HelloProof",
    "HelloReply",
    "Interface",
    "Kind",
    "LayerMeasures",
    "ListContainers",
    "ListProcesses",
    "ListedProcess",
    "ListedProcesses",
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
    "Processors",
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
    "TimedPart",
    "UpdateResources",
    "UseProcessors",
    "User",
    "UserNamespaceMapping",
    "VolumeEntry",
    "WriteVolume",
]

__getattr__ = face(
    __name__,
    containers=(
        "GUEST MAX_CONTAINERS MAX_GROUPS NO_IMAGE POD_NAMESPACE Containers CreateContainer Created DeleteContainer "
        "Exit GuestDevice ListContainers OciState ProcessUser SignalContainer StartContainer UpdateResources User"
    ),
    envelope=(
        "CONTROL_PORT FEATURES_NAMED READY_PORT STREAM_PORT VERSION VERSIONS Envelope Hello HelloProof HelloReply "
        "Kind TimedPart"
    ),
    guest=(
        "AdjustClock AttachImage Clock ConfigureGuest DetachImage Empty FitMachine MakeTmpfs Processors ReadClock "
        "ReleaseDisk Shutdown UseProcessors UserNamespaceMapping"
    ),
    measures=(
        "MAX_DISKS CpuMeasures DiskMeasures FileSystem LayerMeasures MeasureContainers Measured Measures "
        "MemoryMeasures Pressure ProcessMeasures Throttling"
    ),
    methods="AGENT_FRAME ERROR_TEXT EVENTS LARGE_ANSWERS REQUESTS Event Request",
    network="Dns Interface Route",
    processes="MAX_COMMAND MAX_LISTED FreezeContainer ListedProcess ListedProcesses ListProcesses",
    streams="EndExecs Exec OpenPort OpenStream Resize SignalExec Stream StreamToken",
    volumes="MAX_ENTRIES VolumeEntry WriteVolume",
)
