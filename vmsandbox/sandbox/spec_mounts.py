"""The mounts of a container, as OCI runtime-spec `mounts`: what every container has, and its volumes."""

from collections.abc import Sequence

from vmsandbox.errors import InvalidArgument
from vmsandbox.model import ContainerConfig, Mount
from vmsandbox.protocol import paths
from vmsandbox.protocol.codec import JSON


def build_mounts(config: ContainerConfig, sources: Sequence[str]) -> list[JSON]:
    """The default mounts, without those that a volume stands in for, then the volumes, parents first.

    Args:
        config: the container.
        sources: the path in the guest of each of `config.mounts`.
    """
    volumes = [_volume(mount, source) for mount, source in zip(config.mounts, sources, strict=True)]
    volumes.sort(key=lambda mount: mount["destination"].count("/"))
    taken = {mount["destination"] for mount in volumes}
    return [mount for mount in _defaults(config) if mount["destination"] not in taken] + volumes


def _defaults(config: ContainerConfig) -> list[JSON]:
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
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", system),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", system),
        _mount("/dev/shm", "bind", paths.SHM, "rbind", "rw", "nosuid", "nodev", "noexec"),
        *(_mount(target, "bind", source, *file_options) for target, source in files.items()),
    ]


def _volume(mount: Mount, source: str) -> JSON:
    if not mount.container_path.startswith("/"):
        raise InvalidArgument(f"the mount path {mount.container_path!r} is not absolute")
    destination = "/" + "/".join(part for part in mount.container_path.split("/") if part not in ("", "."))
    return _mount(destination, "bind", source, "rbind", mount.propagation.value, "ro" if mount.readonly else "rw")


def _mount(destination: str, kind: str, source: str, *options: str) -> JSON:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}
