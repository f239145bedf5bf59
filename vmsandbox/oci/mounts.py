"""The mounts of config.json as the guest's, and the binds among them as volumes of the host; pure functions."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vmsandbox.errors import InvalidArgument, Unimplemented
from vmsandbox.model import Mount, PropagationMode, UserNamespace
from vmsandbox.oci.users import mappings_from_oci
from vmsandbox.protocol import paths
from vmsandbox.sandbox.spec import READ_ONLY, RECURSIVE

_GUEST_MOUNTS = frozenset({"proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2"})
_FOLLOWING = frozenset({"shared", "rshared", "slave", "rslave"})
_MAPPED = frozenset({"idmap", "ridmap"})
_HOSTS_OWN = _FOLLOWING | _MAPPED | {"private", "rprivate", "unbindable", "runbindable", "bind", "rbind"}
"""Options of a bind that the host sees to, or that the guest is told in another way."""
_SHM_OPTIONS = ["nosuid", "noexec", "nodev", "mode=1777"]


@dataclass(frozen=True, slots=True)
class MountsFrom:
    """The bundle, the users and the memory that mounts are converted for."""

    bundle: str
    """The directory to which sources are relative."""
    users: UserNamespace | None
    """The user namespace of the machine."""
    own_shm: int
    """Bytes of the container's own /dev/shm; 0: it has the machine's."""

    def convert(self, wanted: list[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[Mount]]:
        """Return the mounts for the guest, where binds of the host have no source, and those binds."""
        mounts, binds = [], []
        for each in wanted:
            options = [str(option) for option in each.get("options") or ()]
            destination = posixpath.join("/", str(each["destination"]))
            if not _is_bind(each, options):
                mounts.append(self._of_guest({**each, "destination": destination}, options))
            elif destination == "/dev/shm":
                mounts.append(_shm(self.own_shm) if self.own_shm else _mount(destination, paths.SHM, options))
            else:
                binds.append(self._bind(destination, each, options))
                mounts.append(_mount(destination, "", options))
        return mounts, binds

    def _of_guest(self, mount: dict[str, Any], options: list[str]) -> dict[str, Any]:
        kind, destination = mount.get("type"), mount["destination"]
        if kind not in _GUEST_MOUNTS:
            raise Unimplemented(f"the mount at {destination} has the type {kind!r}", field="mounts.type")
        if mount.get("uidMappings") or mount.get("gidMappings") or _MAPPED & set(options):
            raise InvalidArgument(f"the mount at {destination} is not a bind, and has mapped owners", field="mounts")
        # The machine's network and IPC are not the user namespace's: its root may bind what is mounted, no more.
        if self.users and (kind == "sysfs" or (kind == "mqueue" and not self.own_shm)):
            return _mount(destination, {"sysfs": "/sys", "mqueue": "/dev/mqueue"}[kind], options)
        return mount

    def _bind(self, destination: str, mount: Mapping[str, Any], options: list[str]) -> Mount:
        follows = bool(_FOLLOWING & set(options))
        uids, gids = (mappings_from_oci(mount.get(name) or ()) for name in ("uidMappings", "gidMappings"))
        if _MAPPED & set(options) and not (uids or gids) and self.users:
            uids, gids = self.users.uids, self.users.gids  # As the runtime-spec has it.
        return Mount(
            destination,
            posixpath.join(self.bundle, str(mount["source"])),
            readonly=not READ_ONLY.isdisjoint(options),
            recursive_read_only=RECURSIVE in options and not follows,
            propagation=PropagationMode.HOST_TO_CONTAINER if follows else PropagationMode.PRIVATE,
            uid_mappings=uids,
            gid_mappings=gids,
        )


def _is_bind(mount: Mapping[str, Any], options: list[str]) -> bool:
    return mount.get("type") in ("bind", "none") or "bind" in options or "rbind" in options


def _shm(size: int) -> dict[str, Any]:
    options = [*_SHM_OPTIONS, f"size={size}"]
    return {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": options}


def _mount(destination: str, source: str, options: list[str]) -> dict[str, Any]:
    kept = [option for option in options if option not in _HOSTS_OWN]
    propagation = "rslave" if _FOLLOWING & set(options) else "rprivate"
    return {"destination": destination, "type": "bind", "source": source, "options": ["rbind", propagation, *kept]}
