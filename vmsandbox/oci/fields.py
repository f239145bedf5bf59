"""The fields of the OCI runtime-spec (config.json), and what becomes of each; docs/oci.md has this table.

A row stands for its field and all below it that have no row of their own. A field that has no row is refused, so that
nothing is ignored in silence. An empty value asks for nothing.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vmsandbox.errors import Unimplemented


class Fate(enum.Enum):
    """The ways in which a field is honoured, or is not."""

    GUEST = "in the guest"
    """crun does it in the machine, as the field says it."""
    HOST = "on the host"
    """The field becomes a property of the machine, or the command or the daemon does what it says."""
    NOTHING = "without effect"
    """The field means nothing in a machine, for the reason that is given."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Field:
    """One row."""

    path: str
    """Names with dots; fields of elements of a list follow its name, as in `mounts.type`."""
    fate: Fate
    note: str = ""
    """How, or the reason."""


_NO_PROFILES = "the guest has no profiles: the machine confines the container"
_KERNEL = "the guest's kernel has cgroup v2, which lacks it"
_HOOK = "a program of the host, which the command runs with the state as its input"
_OWNERS = "of a bind: its files have mapped owners (mount_setattr(2))"
_USERS = "the user namespace of all containers in the machine: one mapping, from 0 on, the same for users and groups"

FIELDS = (
    Field("ociVersion", Fate.HOST, "any 1.x"),
    Field("annotations", Fate.HOST, "told by `state`"),
    Field("hostname", Fate.HOST, "the machine's"),
    Field("domainname", Fate.REFUSED, "a machine's domain name cannot be set"),
    Field("hooks.prestart", Fate.HOST, _HOOK),
    Field("hooks.createRuntime", Fate.HOST, _HOOK),
    Field("hooks.createContainer", Fate.REFUSED, "a program of the host cannot act on mounts in a machine"),
    Field("hooks.startContainer", Fate.GUEST, "a program of the container's root"),
    Field("hooks.poststart", Fate.HOST, _HOOK),
    Field("hooks.poststop", Fate.HOST, _HOOK),
    Field("root.path", Fate.HOST, "a directory, shared with the machine, read and write"),
    Field("root.readonly", Fate.GUEST),
    Field("mounts.destination", Fate.GUEST),
    Field("mounts.type", Fate.GUEST, "bind, cgroup, cgroup2, devpts, mqueue, proc, sysfs, tmpfs; others are refused"),
    Field("mounts.source", Fate.HOST, "of a bind: shared with the machine; a bind at /dev/shm is the machine's own"),
    Field("mounts.options", Fate.GUEST, "shared propagation is as slave: what the guest mounts stays there"),
    Field("mounts.uidMappings", Fate.HOST, _OWNERS),
    Field("mounts.gidMappings", Fate.HOST, _OWNERS),
    Field("process.terminal", Fate.GUEST, "and on the host, for the caller"),
    Field("process.user", Fate.GUEST),
    Field("process.args", Fate.GUEST),
    Field("process.cwd", Fate.GUEST),
    Field("process.env", Fate.GUEST),
    Field("process.capabilities", Fate.GUEST),
    Field("process.rlimits", Fate.GUEST),
    Field("process.noNewPrivileges", Fate.GUEST),
    Field("process.oomScoreAdj", Fate.GUEST),
    Field("process.apparmorProfile", Fate.NOTHING, _NO_PROFILES),
    Field("process.selinuxLabel", Fate.NOTHING, _NO_PROFILES),
    Field("process.commandLine", Fate.REFUSED, "it is for Windows"),
    Field("process.consoleSize", Fate.HOST, "the first size of the terminal"),
    Field("process.scheduler", Fate.REFUSED, "the guest's crun does not know it"),
    Field("process.ioPriority", Fate.REFUSED, "the guest's crun does not know it"),
    Field("process.execCPUAffinity", Fate.REFUSED, "the CPUs of the host are not the machine's"),
    Field("linux.cgroupsPath", Fate.HOST, "of the machine and of the container's process on the host"),
    Field("linux.namespaces", Fate.HOST, "the machine's; a network namespace with a path is joined"),
    Field("linux.uidMappings", Fate.HOST, _USERS),
    Field("linux.gidMappings", Fate.HOST, _USERS),
    Field("linux.timeOffsets", Fate.REFUSED, "time namespaces are not supported"),
    Field("linux.devices", Fate.GUEST, "devices without hardware, such as /dev/fuse; others are refused"),
    Field("linux.netDevices", Fate.REFUSED, "a device of the host cannot be moved into a machine"),
    Field("linux.sysctl", Fate.HOST, "the machine's"),
    Field("linux.maskedPaths", Fate.GUEST),
    Field("linux.readonlyPaths", Fate.GUEST),
    Field("linux.mountLabel", Fate.NOTHING, _NO_PROFILES),
    Field("linux.rootfsPropagation", Fate.GUEST),
    Field("linux.personality", Fate.GUEST),
    Field("linux.seccomp", Fate.GUEST),
    Field("linux.seccomp.listenerPath", Fate.REFUSED, "a program of the host cannot decide about a guest's calls"),
    Field("linux.seccomp.listenerMetadata", Fate.REFUSED, "it belongs to listenerPath"),
    Field("linux.intelRdt", Fate.REFUSED, "the caches of the host's CPUs are not the machine's"),
    Field("linux.memoryPolicy", Fate.REFUSED, "the memory nodes of the host are not the machine's"),
    Field("linux.resources.devices", Fate.GUEST),
    Field("linux.resources.memory.limit", Fate.GUEST, "and the size of the machine"),
    Field("linux.resources.memory.reservation", Fate.GUEST),
    Field("linux.resources.memory.swap", Fate.GUEST),
    Field("linux.resources.memory.checkBeforeUpdate", Fate.GUEST),
    Field("linux.resources.memory.kernel", Fate.REFUSED, _KERNEL),
    Field("linux.resources.memory.kernelTCP", Fate.REFUSED, _KERNEL),
    Field("linux.resources.memory.swappiness", Fate.REFUSED, _KERNEL),
    Field("linux.resources.memory.disableOOMKiller", Fate.REFUSED, _KERNEL),
    Field("linux.resources.memory.useHierarchy", Fate.NOTHING, "cgroup v2 has no other way"),
    Field("linux.resources.cpu.shares", Fate.GUEST),
    Field("linux.resources.cpu.quota", Fate.GUEST, "and the vCPUs of the machine"),
    Field("linux.resources.cpu.period", Fate.GUEST),
    Field("linux.resources.cpu.burst", Fate.GUEST),
    Field("linux.resources.cpu.idle", Fate.GUEST),
    Field("linux.resources.cpu.cpus", Fate.HOST, "as many CPUs of the machine"),
    Field("linux.resources.cpu.mems", Fate.NOTHING, "a machine has one memory node"),
    Field("linux.resources.cpu.realtimePeriod", Fate.REFUSED, _KERNEL),
    Field("linux.resources.cpu.realtimeRuntime", Fate.REFUSED, _KERNEL),
    Field("linux.resources.pids", Fate.GUEST),
    Field("linux.resources.blockIO", Fate.REFUSED, "the disks of the host are not the machine's"),
    Field("linux.resources.hugepageLimits", Fate.REFUSED, "a machine has no huge pages"),
    Field("linux.resources.network", Fate.REFUSED, _KERNEL),
    Field("linux.resources.rdma", Fate.REFUSED, "a machine has no RDMA devices"),
    Field("linux.resources.unified", Fate.GUEST),
    Field("solaris", Fate.REFUSED, "machines run Linux"),
    Field("windows", Fate.REFUSED, "machines run Linux"),
    Field("vm", Fate.REFUSED, "the daemon's configuration says what machines are made of"),
    Field("zos", Fate.REFUSED, "machines run Linux"),
    Field("freebsd", Fate.REFUSED, "machines run Linux"),
)
"""The rows, in the order of the runtime-spec."""

BY_PATH: Mapping[str, Field] = {field.path: field for field in FIELDS}

_PARENTS = frozenset(
    parent for path in BY_PATH for parent in (path[:at] for at, char in enumerate(path) if char == ".")
)


def row_of(path: str) -> Field | None:
    """Return the row of a field: its own, or that of the field it belongs to."""
    while path:
        if path in BY_PATH:
            return BY_PATH[path]
        path = path.rpartition(".")[0]
    return None


def check_fields(config: Mapping[str, Any]) -> None:
    """Raise Unimplemented for a config.json that asks for something that is refused, or that has an unknown field."""
    for path, _ in _fields(config):
        row = row_of(path)
        if row is None:
            raise Unimplemented(f"{path} in config.json is not known to this version", field=path)
        if row.fate is Fate.REFUSED:
            raise Unimplemented(f"{path} in config.json is refused: {row.note}", field=path)


def guest_part(value: Any, path: str = "") -> Any:
    """Return a config.json with those fields alone that the guest is to have."""
    if isinstance(value, list) and path in _PARENTS:
        return [guest_part(each, path) for each in value]
    if isinstance(value, Mapping) and (path in _PARENTS or not path):
        below = {name: f"{path}.{name}".lstrip(".") for name in value}
        kept = {name: guest_part(value[name], below[name]) for name in value if _has_guest_part(below[name])}
        return {name: each for name, each in kept.items() if not _is_empty(each)}
    return value


def _has_guest_part(path: str) -> bool:
    if path in _PARENTS and path not in BY_PATH:
        return True
    row = row_of(path)
    return row is not None and row.fate is Fate.GUEST


def _fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields that have a value, down to those that have a row with nothing below it."""
    if _is_empty(value):
        return
    if isinstance(value, list) and path in _PARENTS:
        for each in value:
            yield from _fields(each, path)
    elif isinstance(value, Mapping) and (path in _PARENTS or not path):
        for name, each in value.items():
            yield from _fields(each, f"{path}.{name}".lstrip("."))
    else:
        yield path, value


def _is_empty(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_empty, value.values()))
    return value is None or value is False or value in ("", 0, [])
