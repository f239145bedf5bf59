"""A machine from the guest image by QEMU's command line alone, for tests that need a guest and no libvirt."""

import asyncio
import contextlib
import json
import subprocess
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vmsandbox import aio
from vmsandbox.errors import Unavailable
from vmsandbox.guest.transport.connection import Transport, TransportBroken
from vmsandbox.model import Vsock
from vmsandbox.process import ProcessIdentity

T = TypeVar("T")

GUEST_IMAGE = Path("/var/cache/vmsandbox/guest-image/current")

_MEMORY = "384M"
_ENDING = 2.0
"""Seconds in which a QEMU ends whose vsock daemon has seen that it ends."""


@dataclass(frozen=True)
class Emulation:
    """How the vCPUs of a machine are emulated."""

    vcpus: int = 1
    """QEMU before 8.1 panics guests that have several, now and then (docs/limitations.md)."""
    accelerator: str = "tcg"
    """QEMU's -accel."""


@dataclass(frozen=True)
class Qemu:
    """A machine that was started."""

    process: subprocess.Popen[bytes]
    console: Path

    async def unless_ended(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which waits for the guest. Raises Unavailable as soon as QEMU ends."""
        async with aio.background(self._end()) as end:
            try:
                return await aio.unless(work, end)
            except TransportBroken:
                await asyncio.wait([end], timeout=_ENDING)
                if end.done():
                    raise end.result() from None
                raise

    def way(self, inner: Transport) -> "MachineTransport":
        """A transport to its guest, which is broken when QEMU has ended."""
        return MachineTransport(self, inner)

    async def _end(self) -> BaseException:
        identity = ProcessIdentity.of(self.process.pid)
        if identity is not None:
            await identity.ended()
        return Unavailable(f"QEMU has ended; its console:\n{self.console.read_text(errors='replace')}")


@dataclass(frozen=True)
class MachineTransport:
    """The way to a machine's guest: sessions that have lost their connection learn of it that QEMU has ended."""

    qemu: Qemu
    inner: Transport

    @property
    def device(self) -> Vsock:
        return self.inner.device

    async def ready(self) -> None:
        await self.qemu.unless_ended(self.inner.ready())

    async def dial(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await self.inner.dial(port)
        except Unavailable:
            if broken := await self.diagnose():
                raise broken from None
            raise

    async def diagnose(self) -> TransportBroken | None:
        if self.qemu.process.poll() is None:
            return await self.inner.diagnose()
        return TransportBroken(f"QEMU has ended; its console:\n{self.qemu.console.read_text(errors='replace')}")


def run_program(program: Path, directory: Path, timeout: float = 200) -> str:
    """Boot the guest image with a Python program in the agent's place, which ends the machine; return what it printed.

    Args:
        program: its source, of the standard library alone.
        directory: an empty one.
        timeout: seconds.
    """
    place = directory / "files" / "agent" / "agent.pyz"
    place.parent.mkdir(parents=True)
    place.write_bytes(program.read_bytes())
    archive = subprocess.run(
        ["cpio", "--create", "--format=newc", "--quiet", "--directory", directory / "files"],
        input=b"agent\nagent/agent.pyz\n",
        capture_output=True,
        check=True,
    ).stdout
    initramfs = directory / "initramfs"
    initramfs.write_bytes((GUEST_IMAGE / "initramfs.img").read_bytes() + archive)  # A later file replaces an earlier.
    command = _command(None, directory / "console", (), Emulation(), "", initramfs)
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=timeout)
    return (directory / "console").read_text(errors="replace")


@contextlib.contextmanager
def machine(
    vsock: Vsock,
    console: Path,
    images: Sequence[Path] = (),
    *,
    emulation: Emulation = Emulation(),
    kernel_parameters: str = "",
) -> Iterator[Qemu]:
    """Boot the guest image under TCG; the machine ends with the context.

    Args:
        vsock: of a vhost-device-vsock.
        console: file that gets what the guest prints.
        images: root images, whose serials are their names without suffix.
        emulation: of its vCPUs.
        kernel_parameters: added to those of the guest image.
    """
    command = _command(vsock, console, images, emulation, kernel_parameters)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            yield Qemu(process, console)
        finally:
            process.kill()


def _command(
    vsock: Vsock | None,
    console: Path,
    images: Sequence[Path],
    emulation: Emulation,
    kernel_parameters: str,
    initramfs: Path = GUEST_IMAGE / "initramfs.img",
) -> list[str]:
    command_line = json.loads((GUEST_IMAGE / "manifest.json").read_text())["command_line"]
    command = [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-nographic", "-no-reboot",
        "-machine", "q35,memory-backend=memory", "-accel", emulation.accelerator,
        "-cpu", "max,erms=off,fsrm=off", "-smp", str(emulation.vcpus), "-m", _MEMORY,
        "-object", f"memory-backend-memfd,id=memory,size={_MEMORY},share=on",
        "-kernel", str(GUEST_IMAGE / "vmlinux"),
        "-initrd", str(initramfs),
        "-append", f"clearcpuid=cx16 {command_line} {kernel_parameters}",
        "-device", "virtio-serial-pci",
        "-chardev", f"file,id=console,path={console}",
        "-device", "virtconsole,chardev=console",
        "-device", "virtio-rng-pci",
        "-device", "virtio-scsi-pci",
    ]  # fmt: skip
    if vsock:
        command += [
            "-chardev", f"socket,id=vsock,path={vsock.socket}",
            "-device", "vhost-user-vsock-pci,chardev=vsock,bus=pcie.0,addr=0x1e",
        ]  # fmt: skip
    for serial, path in (("vmsandbox-root", GUEST_IMAGE / "root.squashfs"), *((i.stem, i) for i in images)):
        command += [
            "-drive", f"if=none,id=disk-{serial},file={path},format=raw,readonly=on",
            "-device", f"scsi-hd,drive=disk-{serial},serial={serial}",
        ]  # fmt: skip
    return command
