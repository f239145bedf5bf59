"""The results of boot attempts on this host; they are remembered until something changes that they depend on."""

import json
import platform
from dataclasses import dataclass
from pathlib import Path

from vmsandbox import fs
from vmsandbox.errors import VmsandboxError
from vmsandbox.fs import durable
from vmsandbox.fs.opening import MEBIBYTE, read_regular
from vmsandbox.hypervisor import Accelerator, GuestImage
from vmsandbox.protocol import codec

_KVM = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Attempt:
    """The result of booting a machine under one accelerator."""

    accelerator: Accelerator
    works: bool
    seconds: float
    """Until the agent answered, or until it was clear that it would not."""
    why_not: str = ""
    """One line; empty where it works."""
    report: str = ""
    """`why_not` with its evidence, over several lines (`VmsandboxError.report`)."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """The conditions of a result; if one of them changes, a new attempt is made."""

    boot: str
    """This boot of the host: kernel modules, their parameters and the firmware's settings do not outlast it."""
    kernel: str
    hypervisor: str
    """Versions of libvirt and QEMU."""
    image: str
    kvm: str
    """`kvm_identity`."""

    @classmethod
    def now(cls, hypervisor: str, image: GuestImage) -> "Circumstances":
        """Return the current conditions, with the hypervisor's version and the image that is booted."""
        return cls(
            boot=_BOOT_ID.read_text().strip(),
            kernel=platform.release(),
            hypervisor=hypervisor,
            image=f"{image.kernel.resolve()} {image.build} {image.command_line}",
            kvm=kvm_identity(),
        )


@dataclass(frozen=True, slots=True)
class _Content:
    """The content of the file."""

    circumstances: Circumstances
    attempts: tuple[Attempt, ...]


class AttemptCache:
    """The file of the latest attempts. Processes may share it."""

    def __init__(self, path: Path) -> None:
        """Keep them in `path`, which is made with its directory when there is something to remember."""
        self._path = path

    def under(self, circumstances: Circumstances) -> tuple[Attempt, ...]:
        """Return the attempts made under these conditions; none if another version of vmsandbox wrote the file."""
        try:
            content = codec.decode(_Content, json.loads(read_regular(self._path, MEBIBYTE)))
        except (OSError, ValueError, VmsandboxError):
            return ()
        return content.attempts if content.circumstances == circumstances else ()

    def remember(self, circumstances: Circumstances, attempts: tuple[Attempt, ...]) -> None:
        """Replace what is remembered."""
        fs.make_missing(self._path.parent, fs.PASSABLE)
        content = _Content(circumstances, attempts)
        durable.replace_whole(self._path, json.dumps(codec.encode(content), indent=2).encode())


def kvm_identity() -> str:
    """Device number, mode and owners of /dev/kvm; empty where there is none."""
    try:
        status = _KVM.stat()
    except FileNotFoundError:
        return ""
    return f"{status.st_rdev:x} {status.st_mode:o} {status.st_uid}:{status.st_gid}"
