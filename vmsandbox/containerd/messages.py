"""containerd's messages and services, as far as they are spoken here: a table of names, numbers and types.

A field that is in no table is ignored when it is received. protobuf makes the classes, so that no file of containerd's
is copied and nothing is generated. An enumeration is a number on the wire, and here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

# The descriptors of google.protobuf have to be in the pool before those that name them.
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, empty_pb2, message_factory, timestamp_pb2

ANY, EMPTY, TIME = (each.DESCRIPTOR.full_name for each in (any_pb2.Any, empty_pb2.Empty, timestamp_pb2.Timestamp))

_SCALARS = {
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "uint32": descriptor_pb2.FieldDescriptorProto.TYPE_UINT32,
    "uint64": descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
}
_MOUNT, _METRIC, _ENVELOPE, _PROCESS = (
    "containerd.types.Mount",
    "containerd.types.Metric",
    "containerd.types.Envelope",
    "containerd.v1.types.Process",
)

MESSAGES: Mapping[str, Mapping[str, str]] = {
    "containerd.types": {
        "Mount": "type:1 source:2 target:3 options:4:*string",
        "Metric": f"timestamp:1:{TIME} id:2 data:3:{ANY}",
        "Platform": "os:1 architecture:2 variant:3",
        "Envelope": f"timestamp:1:{TIME} namespace:2 topic:3 event:4:{ANY}",
    },
    "containerd.v1.types": {
        "Process": "container_id:1 id:2 pid:3:uint32 status:4:uint32",
        "ProcessInfo": f"pid:1:uint32 info:2:{ANY}",
    },
    "containerd.services.sandbox.v1": {
        "ControllerCreateRequest": f"sandbox_id:1 options:3:{ANY} netns_path:4",
        "ControllerCreateResponse": "sandbox_id:1",
        "ControllerStartResponse": f"sandbox_id:1 pid:2:uint32 created_at:3:{TIME} address:5 version:6:uint32",
        "ControllerPlatformResponse": "platform:1:containerd.types.Platform",
        "ControllerWaitResponse": f"exit_status:1:uint32 exited_at:2:{TIME}",
        "ControllerStatusResponse": f"sandbox_id:1 pid:2:uint32 state:3 created_at:5:{TIME} exited_at:6:{TIME}"
        " address:8 version:9:uint32",
        "ControllerMetricsResponse": f"metrics:1:{_METRIC}",
        "Named": "sandbox_id:1",
        "Done": "",
    },
    "containerd.task.v3": {
        "CreateTaskRequest": f"id:1 bundle:2 rootfs:3:*{_MOUNT} terminal:4:bool stdin:5 stdout:6 stderr:7 checkpoint:8",
        "Started": "pid:1:uint32",
        "DeleteResponse": f"pid:1:uint32 exit_status:2:uint32 exited_at:3:{TIME}",
        "ExecProcessRequest": f"id:1 exec_id:2 terminal:3:bool stdin:4 stdout:5 stderr:6 spec:7:{ANY}",
        "ResizePtyRequest": "id:1 exec_id:2 width:3:uint32 height:4:uint32",
        "StateResponse": "id:1 bundle:2 pid:3:uint32 status:4:uint32 stdin:5 stdout:6 stderr:7 terminal:8:bool"
        f" exit_status:9:uint32 exited_at:10:{TIME} exec_id:11",
        "KillRequest": "id:1 exec_id:2 signal:3:uint32 all:4:bool",
        "UpdateTaskRequest": f"id:1 resources:2:{ANY}",
        "PidsResponse": "processes:1:*containerd.v1.types.ProcessInfo",
        "WaitResponse": f"exit_status:1:uint32 exited_at:2:{TIME}",
        "StatsResponse": f"stats:1:{ANY}",
        "ConnectResponse": "shim_pid:1:uint32 task_pid:2:uint32 version:3",
        "Named": "id:1 exec_id:2",
    },
    "containerd.events": {
        "TaskIO": "stdin:1 stdout:2 stderr:3 terminal:4:bool",
        "TaskCreate": f"container_id:1 bundle:2 rootfs:3:*{_MOUNT} io:4:containerd.events.TaskIO pid:6:uint32",
        "TaskStart": "container_id:1 pid:2:uint32",
        "TaskDelete": f"container_id:1 pid:2:uint32 exit_status:3:uint32 exited_at:4:{TIME} id:5",
        "TaskExit": f"container_id:1 id:2 pid:3:uint32 exit_status:4:uint32 exited_at:5:{TIME}",
        "TaskOOM": "container_id:1",
        "TaskExecAdded": "container_id:1 exec_id:2",
        "TaskExecStarted": "container_id:1 exec_id:2 pid:3:uint32",
        "TaskPaused": "container_id:1",
        "TaskResumed": "container_id:1",
    },
    "containerd.services.events.v1": {"ForwardRequest": f"envelope:1:{_ENVELOPE}"},
    "containerd.services.tasks.v1": {"GetRequest": "container_id:1", "GetResponse": f"process:1:{_PROCESS}"},
    "containerd.services.containers.v1": {
        "Extension": f"key:1 value:2:{ANY}",
        "Container": "id:1 extensions:10:*containerd.services.containers.v1.Extension",
        "GetContainerRequest": "id:1",
        "GetContainerResponse": "container:1:containerd.services.containers.v1.Container",
    },
    "io.containerd.cgroups.v2": {
        "PidsStat": "current:1:uint64 limit:2:uint64",
        "CPUStat": "usage_usec:1:uint64 user_usec:2:uint64 system_usec:3:uint64 nr_periods:4:uint64"
        " nr_throttled:5:uint64 throttled_usec:6:uint64",
        "MemoryStat": "anon:1:uint64 file:2:uint64 file_mapped:7:uint64 inactive_file:13:uint64 pgfault:18:uint64"
        " pgmajfault:19:uint64 usage:32:uint64 usage_limit:33:uint64",
        "MemoryEvents": "max:3:uint64 oom_kill:5:uint64",
        "Metrics": "pids:1:io.containerd.cgroups.v2.PidsStat cpu:2:io.containerd.cgroups.v2.CPUStat"
        " memory:4:io.containerd.cgroups.v2.MemoryStat memory_events:8:io.containerd.cgroups.v2.MemoryEvents",
    },
}
"""The fields of messages, by package and name, each `name:number:type`; a string without a type; `*`: repeated.

`Named` stands for all requests that name a sandbox, or a process, alone; `Done` and `Started` for answers of one form.
"""

CONTROLLER = "containerd.services.sandbox.v1.Controller"
TASK = "containerd.task.v3.Task"

SERVICES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    CONTROLLER: {
        "Create": ("ControllerCreateRequest", "ControllerCreateResponse"),
        "Start": ("Named", "ControllerStartResponse"),
        "Platform": ("Named", "ControllerPlatformResponse"),
        "Stop": ("Named", "Done"),
        "Wait": ("Named", "ControllerWaitResponse"),
        "Status": ("Named", "ControllerStatusResponse"),
        "Shutdown": ("Named", "Done"),
        "Metrics": ("Named", "ControllerMetricsResponse"),
        "Update": ("Named", "Done"),
    },
    TASK: {
        "State": ("Named", "StateResponse"),
        "Create": ("CreateTaskRequest", "Started"),
        "Start": ("Named", "Started"),
        "Delete": ("Named", "DeleteResponse"),
        "Pids": ("Named", "PidsResponse"),
        "Pause": ("Named", EMPTY),
        "Resume": ("Named", EMPTY),
        "Kill": ("KillRequest", EMPTY),
        "Exec": ("ExecProcessRequest", EMPTY),
        "ResizePty": ("ResizePtyRequest", EMPTY),
        "CloseIO": ("Named", EMPTY),
        "Update": ("UpdateTaskRequest", EMPTY),
        "Wait": ("Named", "WaitResponse"),
        "Stats": ("Named", "StatsResponse"),
        "Connect": ("Named", "ConnectResponse"),
        "Shutdown": ("Named", EMPTY),
    },
}
"""The calls that are served, with their requests and answers; a call that is in no table is Unimplemented."""


def message(name: str, **fields: Any) -> Any:
    """Return a message of a full name."""
    return class_of(name)(**fields)


def class_of(name: str) -> Any:
    """Return the class of a message of a full name. Raises KeyError."""
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))


def types_of(service: str, call: str) -> tuple[Any, Any]:
    """Return the classes of a call's request and answer. Raises KeyError."""
    package = service.rpartition(".")[0]
    request, answer = (name if "." in name else f"{package}.{name}" for name in SERVICES[service][call])
    return class_of(request), class_of(answer)


def packed(value: Any) -> Any:
    """Return a message as containerd packs it into another: its type's name is the whole URL."""
    return any_pb2.Any(type_url=value.DESCRIPTOR.full_name, value=value.SerializeToString())


def time_of(nanoseconds: int) -> Any:
    """Return a time since 1970 as a message."""
    return timestamp_pb2.Timestamp(seconds=nanoseconds // 10**9, nanos=nanoseconds % 10**9)


def _fields(table: str) -> Iterator[descriptor_pb2.FieldDescriptorProto]:
    for field in table.split():
        name, number, kind = f"{field}:string".split(":")[:3]
        has = descriptor_pb2.FieldDescriptorProto(name=name, number=int(number))
        has.label = has.LABEL_REPEATED if kind.startswith("*") else has.LABEL_OPTIONAL
        kind = kind.removeprefix("*")
        has.type = _SCALARS.get(kind, has.TYPE_MESSAGE)
        if has.type == has.TYPE_MESSAGE:
            has.type_name = f".{kind}"
        yield has


def _declare() -> None:
    needed = [f"google/protobuf/{name}.proto" for name in ("any", "empty", "timestamp")]
    for package, table in MESSAGES.items():
        file = descriptor_pb2.FileDescriptorProto(name=f"vmsandbox/{package}", package=package, syntax="proto3")
        file.dependency.extend(needed)
        for name, fields in table.items():
            file.message_type.add(name=name, field=_fields(fields))
        descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
        needed.append(file.name)


_declare()
