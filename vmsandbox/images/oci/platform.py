"""The platforms that images are built for, and that of the guests."""

import platform as host
from dataclasses import dataclass

from vmsandbox.errors import Unimplemented

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
