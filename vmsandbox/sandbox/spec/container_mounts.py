"""The mounts of a container, as OCI runtime-spec `mounts`: what every container has, its volumes, and its image's."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from vmsandbox.errors import InvalidArgument
from vmsandbox.model import ContainerConfig, ImageConfig, Mount, NamespaceMode, PropagationMode
from vmsandbox.protocol import paths
from vmsandbox.protocol.codec import JSON

_MAX_DECLARED = 128
"""Volumes that an image may declare: each is a directory and a mount in the guest."""


@dataclass(frozen=True, slots=True)
class MountSource:
    """Where the guest finds what is to be mounted."""

    path: str
    readonly: bool
    writable: tuple[str, ...] = ()
    """Paths below it that are writable although it is read-only."""


def build_mounts(
    container_id: str,
    config: ContainerConfig,
    image: ImageConfig,
    sources: Sequence[MountSource],
    *,
    mapped_users: bool = False,
) -> list[JSON]:
    """The default mounts, without those that a volume stands in for, then the volumes, parents first.

    Args:
        container_id: of the container.
        config: the container.
        image: what its image says; the volumes that it declares are mounted where the container has none of its own.
        sources: of each of `config.mounts`.
        mapped_users: whether the pod has a user namespace.

    Raises:
        InvalidArgument: the image declares too many volumes.
    """
    wanted = list(zip(config.mounts, sources, strict=True))
    volumes = [_volume(mount, source) for mount, source in wanted]
    taken = {str(mount["destination"]) for mount in volumes}
    volumes += [each for mount, source in wanted for each in _writable_below(mount, source, taken)]
    volumes += _declared_volumes(container_id, image, taken)
    volumes.sort(key=lambda mount: mount["destination"].count("/"))
    return [mount for mount in _defaults(config, mapped_users) if mount["destination"] not in taken] + volumes


def _declared_volumes(container_id: str, image: ImageConfig, taken: Collection[str]) -> list[dict[str, JSON]]:
    """The image's VOLUMEs (OCI image-spec, `config.Volumes`); the agent fills each with what the image has there."""
    wanted = sorted({_normal(path) for path in image.volumes} - {"/", *taken})
    if len(wanted) > _MAX_DECLARED:
        raise InvalidArgument(f"the image declares {len(wanted)} volumes; {_MAX_DECLARED} are allowed")
    sources = (paths.declared_volume(container_id, number) for number in range(len(wanted)))
    return [
        _mount(target, "bind", source, "rbind", "rprivate", "rw")
        for target, source in zip(wanted, sources, strict=True)
    ]


def root_propagation(config: ContainerConfig) -> str:
    """`linux.rootfsPropagation`: what the container's volumes need of it; empty where they need nothing."""
    wanted = {mount.propagation for mount in config.mounts}
    modes = (PropagationMode.BIDIRECTIONAL, PropagationMode.HOST_TO_CONTAINER)
    return next((mode.value for mode in modes if mode in wanted), "")


def _defaults(config: ContainerConfig, mapped_users: bool) -> list[JSON]:
    security = config.security
    system = "rw" if security.privileged else "ro"
    files = {"/etc/hosts": paths.HOSTS, "/etc/hostname": paths.HOSTNAME, "/etc/resolv.conf": paths.RESOLV_CONF}
    file_options = ["rbind", "rprivate", "ro" if security.readonly_rootfs else "rw"]
    return [
        _mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
        ),
        _of_guest("/dev/mqueue", "mqueue", mapped_users),
        _of_guest("/sys", "sysfs", mapped_users, system),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", system),
        _shared_memory(security.namespaces.ipc),
        *(_mount(target, "bind", source, *file_options) for target, source in files.items()),
    ]


def _of_guest(path: str, kind: str, mapped_users: bool, *more: str) -> JSON:
    """Build mounts of the guest's network or IPC, which root of a user namespace does not own and may only bind."""
    options = ("nosuid", "noexec", "nodev", *more)
    # Private, or what is mounted on it in the container would be mounted in the guest.
    return (
        _mount(path, "bind", path, "rbind", "rprivate", *options)
        if mapped_users
        else _mount(path, kind, kind, *options)
    )


def _shared_memory(ipc: NamespaceMode) -> JSON:
    options = ("nosuid", "nodev", "noexec")
    if ipc is NamespaceMode.CONTAINER:
        return _mount("/dev/shm", "tmpfs", "shm", *options, "mode=1777", "size=65536k")
    return _mount("/dev/shm", "bind", paths.SHM, "rbind", "rprivate", "rw", *options)


def _volume(mount: Mount, source: MountSource) -> JSON:
    readonly = "rro" if source.readonly and mount.recursive_read_only else "ro" if source.readonly else "rw"
    destination = _normal(mount.container_path)
    return _mount(destination, "bind", source.path, "rbind", mount.propagation.value, readonly)


def _writable_below(mount: Mount, source: MountSource, taken: Collection[str]) -> list[dict[str, JSON]]:
    """Build mounts that stay writable below a read-only volume, unless another volume covers them.

    The guest sees one file system, which is read-only from the volume's root on.
    """
    top = _normal(mount.container_path)
    others = {place for place in taken if place.startswith(f"{top}/")}
    found = []
    for path in source.writable:
        place = f"{top}/{path}"
        if not any(place == other or place.startswith(f"{other}/") for other in others):
            found.append(_mount(place, "bind", f"{source.path}/{path}", "rbind", mount.propagation.value, "rw"))
    return found


def _normal(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, JSON]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}
