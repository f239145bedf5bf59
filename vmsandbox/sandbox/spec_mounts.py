"""The mounts of a container, as OCI runtime-spec `mounts`: what every container has, and its volumes."""

from collections.abc import Sequence

from vmsandbox.model import ContainerConfig, Mount, NamespaceMode, PropagationMode
from vmsandbox.protocol import paths
from vmsandbox.protocol.codec import JSON
from vmsandbox.sandbox.volumes import Source


def build_mounts(config: ContainerConfig, sources: Sequence[Source], *, mapped_users: bool = False) -> list[JSON]:
    """The default mounts, without those that a volume stands in for, then the volumes, parents first.

    Args:
        config: the container.
        sources: of each of `config.mounts`.
        mapped_users: whether the pod has a user namespace.
    """
    volumes = [_volume(mount, source) for mount, source in zip(config.mounts, sources, strict=True)]
    volumes.sort(key=lambda mount: mount["destination"].count("/"))
    taken = {mount["destination"] for mount in volumes}
    return [mount for mount in _defaults(config, mapped_users) if mount["destination"] not in taken] + volumes


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
    """What shows the guest's network or IPC. Root of a user namespace does not own these, and may only bind it."""
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


def _volume(mount: Mount, source: Source) -> JSON:
    destination = "/" + "/".join(part for part in mount.container_path.split("/") if part not in ("", "."))
    readonly = "rro" if source.readonly and mount.recursive_read_only else "ro" if source.readonly else "rw"
    return _mount(destination, "bind", source.path, "rbind", mount.propagation.value, readonly)


def _mount(destination: str, kind: str, source: str, *options: str) -> JSON:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}
