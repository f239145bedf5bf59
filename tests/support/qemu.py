"""A machine from the guest image by QEMU's command line alone, for tests that need a guest and no libvirt."""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from vmsandbox.model import Vsock

GUEST_IMAGE = Path("/var/cache/vmsandbox/guest-image/current")

_MEMORY = "384M"


@contextlib.contextmanager
def machine(vsock: Vsock, console: Path, images: Sequence[Path] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Boot the guest image under TCG; the machine ends with the context.

    Args:
        vsock: of a vhost-device-vsock.
        console: file that gets what the guest prints.
        images: root images, whose serials are their names without suffix.
    """
    with subprocess.Popen(_command(vsock, console, images), stdin=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def _command(vsock: Vsock, console: Path, images: Sequence[Path]) -> list[str]:
    command_line = json.loads((GUEST_IMAGE / "manifest.json").read_text())["command_line"]
    command = [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-nographic", "-no-reboot",
        "-machine", "q35,accel=tcg,memory-backend=memory", "-cpu", "max", "-smp", "2", "-m", _MEMORY,
        "-object", f"memory-backend-memfd,id=memory,size={_MEMORY},share=on",
        "-kernel", str(GUEST_IMAGE / "vmlinux"),
        "-initrd", str(GUEST_IMAGE / "initramfs.img"),
        "-append", command_line,
        "-device", "virtio-serial-pci",
        "-chardev", f"file,id=console,path={console}",
        "-device", "virtconsole,chardev=console",
        "-device", "virtio-rng-pci",
        "-device", "virtio-scsi-pci",
        "-chardev", f"socket,id=vsock,path={vsock.socket}",
        "-device", "vhost-user-vsock-pci,chardev=vsock,bus=pcie.0,addr=0x1e",
    ]  # fmt: skip
    for serial, path in (("vmsandbox-root", GUEST_IMAGE / "root.squashfs"), *((i.stem, i) for i in images)):
        command += [
            "-drive", f"if=none,id=disk-{serial},file={path},format=raw,readonly=on",
            "-device", f"scsi-hd,drive=disk-{serial},serial={serial}",
        ]  # fmt: skip
    return command
