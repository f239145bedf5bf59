"""Libvirts for tests: the embedded one of this process, and a libvirtd of the test's own, apart from the host's."""

import atexit
import contextlib
import functools
import grp
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from tests.support import own
from tests.support.qemu import GUEST_IMAGE
from tests.support.vsock import vhost_device_program
from vmsandbox.claims import UserRange
from vmsandbox.guest.transport.connection import Transport
from vmsandbox.guest.transport.transports import Transports, use_kernel
from vmsandbox.guestimage.manifest import load_image
from vmsandbox.hypervisor import Accelerator, GuestImage, MachineSpec
from vmsandbox.hypervisor.libvirt.embedded import QEMU_GROUP, QEMU_USER
from vmsandbox.model import MachineSize

SIZE = MachineSize(1, 256 * 1024 * 1024)


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


def qemu_runs(name: str) -> bool:
    """Whether a machine has a process."""
    return next(_processes(f"guest={name},"), None) is not None


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
        self.transports = Transports(directory / "cids", kernel=use_kernel("auto"), program=vhost_device_program())
        self.users = UserRange(directory / "users", own.USERS[:1000], _group())

    async def new_spec(self) -> MachineSpec:
        """A machine that can be created, small, with a name of its own."""
        identity = uuid.uuid4()
        name = f"vmsandbox-test-{identity.hex[:12]}"
        directory = self.directory / name
        directory.mkdir(mode=0o711)
        users = await self.users.allocate(name)
        self.ways[name] = await self.transports.start(name, directory / "vsock", users)
        return MachineSpec(
            name=name,
            uuid=str(identity),
            title="tests/machine",
            image=self.image,
            size=SIZE,
            most=SIZE,
            accelerator=Accelerator.TCG,
            account=users.qemu,
            vsock=self.ways[name].device,
            console=directory / "console.sock",
        )

    def close(self) -> None:
        """Give back the transports, when the machines have ended."""
        for name in self.ways:
            self.transports.stop(name, self.directory / name / "vsock")


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


class OwnLibvirtd:
    """A libvirtd apart from the host's: with directories, processes and mounts of its own, all of which end with it.

    It runs under an init that reaps, as on a host, and is started again whenever it ends, as systemd would. It sees
    what the host mounts later below a shared mount, as every process does on a host with systemd.
    """

    def __init__(self, directory: Path) -> None:
        """Keep everything in `directory`, which QEMU's user may enter."""
        self.uri = f"qemu:///system?socket={directory}/run/libvirt-sock"
        self._directory = directory
        self._configuration = directory / "etc/libvirtd.conf"
        self._made: list[Path] = []
        self._init: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it answers a moment later."""
        for name, place in _PLACES.items():
            (self._directory / name).mkdir()
            if not place.exists():
                place.mkdir()
                self._made.append(place)
        self._configuration.write_text(
            f'unix_sock_dir = "{self._directory}/run"\nauth_unix_rw = "none"\nlog_outputs = "4:file:/dev/null"\n'
        )
        (self._directory / "etc/qemu.conf").write_text(
            f'user = "{QEMU_USER}"\ngroup = "{QEMU_GROUP}"\nseccomp_sandbox = 1\ncgroup_controllers = [ ]\n'
        )
        apart = ["unshare", "--mount", "--propagation=slave", "--pid", "--fork", "--kill-child", "--mount-proc"]
        places = [text for name, place in _PLACES.items() for text in (str(self._directory / name), str(place))]
        self._init = subprocess.Popen([*apart, "tini", "--", "sh", "-c", _LIBVIRTD, str(self._configuration), *places])

    def kill(self) -> None:
        """Kill libvirtd itself; machines go on, and another libvirtd comes."""
        self._send(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang, until it is killed."""
        self._send(signal.SIGSTOP)

    def stop(self) -> None:
        """End it, and every process that it has started."""
        if self._init is not None:
            self._init.kill()
            self._init.wait()
        for place in self._made:
            place.rmdir()

    def _send(self, number: signal.Signals) -> None:
        for pid in _processes(f"--config={self._configuration}"):
            os.kill(pid, number)


_PLACES = {
    "run": Path("/run/libvirt"),
    "lib": Path("/var/lib/libvirt"),
    "cache": Path("/var/cache/libvirt"),
    "log": Path("/var/log/libvirt"),
    "etc": Path("/etc/libvirt"),
}
"""Where libvirtd has its files, by the names that they have in a libvirtd's own directory."""

_LIBVIRTD = """
configuration=$0
while [ $# != 0 ]; do
    mount --bind "$1" "$2"
    shift 2
done
virtlogd --daemon --pid-file=/run/libvirt/virtlogd.pid
while :; do
    libvirtd --pid-file=/run/libvirt/libvirtd.pid --config="$configuration"
done 2>/dev/null
"""
