"""All that a machine is made from: the image that it boots, its size, its account and its devices."""

import enum
from dataclasses import dataclass, replace
from pathlib import Path

from vmsandbox.model import MachineSize, Vsock
from vmsandbox.process import Account


class Accelerator(enum.Enum):
    """How a guest's instructions run."""

    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True, slots=True)
class GuestImage:
    """The files that every machine boots from; shared, never written."""

    kernel: Path
    initramfs: Path
    root: Path
    command_line: str
    build: str
    """Build id of the agent in it. Hello tells both ends the other's; it decides nothing."""

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """Return all of them."""
        return self.kernel, self.initramfs, self.root


@dataclass(frozen=True, slots=True)
class NetworkDevice:
    """A tap that libvirt opens; it may move elsewhere once the machine runs."""

    tap: str
    mac: str
    mtu: int = 1500
    namespace: Path | None = None
    """The network namespace in which the tap is, and QEMU is started; None: the host's (see `LibvirtHypervisor.apart`).
    """


@dataclass(frozen=True, slots=True)
class Blocks:
    """The mark of a disk that is a block device of the host and outlives its machine; sizes in bytes.

    What the guest has flushed is on the device, what it discards is discarded there, and an error of the device is one
    in the guest.
    """

    logical: int
    physical: int


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk on the virtio-scsi controller, found in the guest by its serial."""

    serial: str
    path: Path
    """A file that dies with the machine or is never written; with `blocks`, the node of a block device."""
    readonly: bool = True
    bandwidth: int = 0
    """Bytes a second, read and written together; 0: as many as the host gives."""
    iops: int = 0
    """Operations a second; 0: as many as the host gives."""
    blocks: Blocks | None = None


@dataclass(frozen=True, slots=True)
class SharedDirectory:
    """A directory of the host that the guest mounts by virtio-fs under `tag`."""

    tag: str
    directory: Path
    server: Path | None = None
    """The virtiofsd that libvirt starts for it; None: the one that libvirt finds."""


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """All that a domain is made from."""

    name: str
    """The domain's name; unique per connection."""
    uuid: str
    title: str
    """For people: namespace and name of the pod."""
    image: GuestImage
    size: MachineSize
    """The vCPUs that its guest's kernel starts, and the memory with which it boots, below which it never gets."""
    most: MachineSize
    """The vCPUs that it has, of which its guest uses as many as its agent is told, and the memory that
    `Hypervisor.resize` can give it: `size` or more. A machine that never grows costs less."""
    accelerator: Accelerator
    account: Account
    """QEMU's user and group, the user of no other machine. Every file that QEMU opens lets it."""
    vsock: Vsock | None
    """The way to its agent. None: the machine belongs to nobody yet, and has places for the devices of a claim."""
    console: Path
    """Unix socket on which QEMU offers the guest's console (see `console.ConsoleReader`)."""
    secret: Path | None = None
    """Unix socket on which QEMU takes what the guest reads from the port `protocol.secret.PORT_NAME`."""
    scratch: Disk | None = None
    share: SharedDirectory | None = None
    network: NetworkDevice | None = None
    network_place: bool = False
    """Whether a network can be plugged into a machine that was made without one. An unclaimed one can do that."""
    kernel_parameters: str = ""
    """Appended to the image's command line."""

    @property
    def unclaimed(self) -> "MachineSpec":
        """The same machine before it is claimed: without the devices by which it is its pod's (`Hypervisor.plug`)."""
        return replace(self, vsock=None, scratch=None, share=None, network=None, network_place=False)
