"""Libvirts for tests: the embedded one of this process, and a libvirtd of the test's own, apart from the host's."""

import atexit
import contextlib
import functools
import grp
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from tests.support.qemu import GUEST_IMAGE
from tests.support.vsock import vhost_device_program
from vmsandbox.guest.transport import Transport
from vmsandbox.guest.transports import Transports, use_kernel
from vmsandbox.guestimage.manifest import load_image
from vmsandbox.hypervisor.base import Accelerator, GuestImage, MachineSpec
from vmsandbox.hypervisor.embedded import QEMU_GROUP

MEMORY = 256 * 1024 * 1024


@functools.cache
def embedded_uri() -> str:
    """The embedded libvirt of the tests: a process has one, at one place, so all tests that need it share it."""
    directory = tempfile.mkdtemp(prefix="vms-")
    Path(directory).chmod(0o755)
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return f"qemu:///embed?root={directory}/libvirt"


def guest_image() -> GuestImage:
    """The guest image that the setup has built."""
    image = load_image(GUEST_IMAGE)
    return GuestImage(image.kernel, image.initramfs, image.root, image.manifest.command_line, image.manifest.build)


def _group() -> int:
    return grp.getgrnam(QEMU_GROUP).gr_gid


def kill_qemu(name: str) -> None:
    """Kill the QEMU of a machine, as the kernel would when memory runs out."""
    os.kill(qemu_pid(name), signal.SIGKILL)


def qemu_pid(name: str) -> int:
    """The process of a machine, as seen from here."""
    return next(_processes(f"guest={name},"))


def _processes(argument: str) -> Iterator[int]:
    """The processes that have an argument which contains a text."""
    for directory in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if directory.name.isdecimal() and argument.encode() in (directory / "cmdline").read_bytes():
                yield int(directory.name)


class Workshop:
    """A directory in which machines are made ready to be created, by specification and transport."""

    def __init__(self, directory: Path, image: GuestImage) -> None:
        """Make directories below `directory`, which QEMU's user may enter."""
        self.image = image
        self.ways: dict[str, Transport] = {}
        """To the agents of the machines, by name."""
        self.directory = directory
        self._transports = Transports(
            directory / "cids", kernel=use_kernel("auto"), program=vhost_device_program(), group=_group()
        )

    async def new_spec(self) -> MachineSpec:
        """A machine that can be created, small, with a name of its own."""
        identity = uuid.uuid4()
        name = f"vmsandbox-test-{identity.hex[:12]}"
        directory = self.directory / name
        directory.mkdir(mode=0o711)
        self.ways[name] = await self._transports.start(name, directory)
        return MachineSpec(
            name=name,
            uuid=str(identity),
            title="tests/machine",
            image=self.image,
            vcpus=1,
            memory=MEMORY,
            accelerator=Accelerator.TCG,
            vsock=self.ways[name].device,
            console=directory / "console.sock",
        )

    def close(self) -> None:
        """Give back the transports, when the machines have ended."""
        for name in self.ways:
            self._transports.stop(name, self.directory / name)


@contextlib.contextmanager
def workshop() -> Iterator[Workshop]:
    """A workshop in a short-named directory of its own; Unix sockets have short paths."""
    with tempfile.TemporaryDirectory(prefix="vms-") as name:
        Path(name).chmod(0o755)
        made = Workshop(Path(name), guest_image())
        try:
            yield made
        finally:
            made.close()
