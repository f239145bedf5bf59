"""Settings of the image store."""

import platform as host
from dataclasses import dataclass, field
from pathlib import Path

from vmsandbox.errors import Unimplemented

DEFAULT_DIRECTORY = Path("/var/lib/vmsandbox/images")

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64", "s390x": "s390x", "ppc64le": "ppc64le"}


@dataclass(frozen=True, slots=True)
class Platform:
    """The platform of an image (OCI image-index, `platform`); an empty variant matches all."""

    architecture: str
    os: str = "linux"
    variant: str = ""

    @classmethod
    def of_host(cls) -> "Platform":
        """The platform of the guests: theirs is the host's architecture.

        Raises:
            Unimplemented: no guest can be built for this machine.
        """
        machine = host.machine()
        if machine not in _ARCHITECTURES:
            raise Unimplemented(f"no guest can run on a {machine} host")
        return cls(_ARCHITECTURES[machine])

    def __str__(self) -> str:
        """Return the platform in docker's form: os/architecture[/variant]."""
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """Settings of an image store."""

    registries_conf: Path | None = None
    """containers-registries.conf(5): mirrors, insecure and blocked registries; None: the host's."""
    policy: Path | None = None
    """containers-policy.json(5): which images may be used; None: the host's, or any image where it has none."""
    authfile: Path | None = None
    """containers-auth.json(5): credentials where a pull brings none of its own, and for mirrors; None: none."""
    pull_timeout: float = 3600
    """Seconds one pull may take, all in all."""
    max_root_size: int = 32 << 30
    """Bytes that an image's files may have together, unpacked."""
    max_root_memory: int = 1 << 30
    """Bytes of memory that their names and attributes may take while the root image is made."""
    user: str = "vmsandbox-images"
    """The system user that programs run as which read images."""
    pinned: tuple[str, ...] = ()
    """Names of images that are told to be pinned: the kubelet does not remove those when it needs room."""
    readers: int = -1
    """Number of the group that reads root images besides root (QEMU's); -1: that of this process."""
    platform: Platform = field(default_factory=Platform.of_host)
