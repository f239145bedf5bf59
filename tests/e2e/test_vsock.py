"""The transports with a real guest on their other side: QEMU, vhost-device-vsock, the guest image, its agent."""

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typing_extensions

import vmsandbox
from tests.fakes.agent_contract import AgentContract, Host, read_all
from tests.guest.client import process_spec, runtime_spec
from tests.support.qemu import GUEST_IMAGE, Emulation, MachineTransport, machine
from tests.support.rootfs import make_rootfs
from tests.support.vsock import USERS, vhost_device_program, vsock_daemon
from vmsandbox.errors import Unavailable
from vmsandbox.guest.client import GuestClient
from vmsandbox.guest.clock import ClockKeeper
from vmsandbox.guest.session import Session
from vmsandbox.guest.transport.connection import TransportBroken
from vmsandbox.guest.transport.vhost_daemon import dial_socket
from vmsandbox.guest.transport.vhost_device import VhostDevice
from vmsandbox.protocol.messages import CONTROL_PORT, ConfigureGuest, CreateContainer, Event, Exec, Stream

BOOT_DEADLINE = 120

IN_GUEST = """
import asyncio, socket, sys
from vmsandbox.errors import Unavailable
from vmsandbox.guest.transport.kernel_vsock import KernelVsock

async def main():
    loopback = KernelVsock(1)
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as listener:
        listener.bind((socket.VMADDR_CID_ANY, 5000))
        listener.listen()
        reader, writer = await loopback.dial(5000)
        peer, _ = listener.accept()
        peer.sendall(b"answered")
        peer.close()
        print((await reader.read()).decode(), flush=True)
        writer.close()
        await writer.wait_closed()
    try:
        await loopback.dial(5000)
    except Unavailable as error:
        print(error, flush=True)
    reader, writer = await loopback.dial(1024)
    print("the agent said", await reader.read(), flush=True)
    writer.close()

asyncio.run(main())
"""

JUMPS_IN_GUEST = """
import asyncio, time
from vmsandbox.sandbox.lifecycle.clock_jumps import clock_jumps

async def main():
    jumps = clock_jumps()
    for seconds in (-7200, 3600):
        waiting = asyncio.ensure_future(anext(jumps))
        await asyncio.sleep(0.5)
        print(waiting.done(), flush=True)
        time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)
        await asyncio.wait_for(waiting, 5)
        print("seen", flush=True)
    await jumps.aclose()

asyncio.run(main())
"""


_FACES = [f"vmsandbox/{room}/__init__.py" for room in ("guest", "guest/transport", "sandbox/lifecycle")]
"""They import everything in their rooms, and so libraries that the guest does not have."""


@dataclass(frozen=True)
class Machine:
    """A guest that was booted and configured, with the images `image` and `python` attached."""

    device: VhostDevice
    way: MachineTransport
    """The transport that tests dial: it is broken as soon as QEMU has ended."""


@contextlib.contextmanager
def booted() -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="vmsandbox-vsock-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        images = [_busybox_image(directory), _python_image(directory)]
        device = asyncio.run(VhostDevice.start(directory / "vsock", 42, USERS, program=vhost_device_program()))
        try:
            cpus = Emulation(2, "tcg,thread=single")
            console = directory / "console"
            with machine(device.device, console, images, emulation=cpus, kernel_parameters="maxcpus=1") as qemu:
                asyncio.run(qemu.unless_ended(_configure(device)))
                yield Machine(device, qemu.way(device))
        finally:
            device.stop()
            asyncio.run(device.wait_ended())


async def _configure(device: VhostDevice) -> None:
    async with Session(device, "pod", _ignore) as session:
        await session.connect(BOOT_DEADLINE)
        client = GuestClient(session)
        await client.configure(ConfigureGuest("pod", time.time_ns()))
        for serial in ("image", "python"):
            await client.attach_image(serial)


async def _ignore(_: Event) -> None:
    return


def _busybox_image(directory: Path) -> Path:
    image = directory / "image.squashfs"
    _squash(make_rootfs(directory / "busybox"), image)
    return image


def _python_image(directory: Path) -> Path:
    """The guest's own root, which has a Python, and this package in it."""
    image, added = directory / "python.squashfs", directory / "added"
    image.write_bytes((GUEST_IMAGE / "root.squashfs").read_bytes())
    added.mkdir()
    package = Path(vmsandbox.__file__).parent
    with zipfile.ZipFile(added / "vmsandbox.zip", "w") as archive:
        archive.write(typing_extensions.__file__, "typing_extensions.py")
        for source in package.rglob("*.py"):
            name = source.relative_to(package.parent)
            if str(name) in _FACES:
                archive.writestr(str(name), "")
            else:
                archive.write(source, name)
    _squash(added, image)
    return image


def _squash(tree: Path, image: Path) -> None:
    """Make an image of `tree`, or add it to the image that is there."""
    command = ["mksquashfs", str(tree), str(image), "-comp", "lz4", "-quiet", "-no-progress", "-no-xattrs"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def shared() -> Iterator[Machine]:
    with booted() as machine:
        yield machine


@pytest.fixture
def own() -> Iterator[Machine]:
    with booted() as machine:
        yield machine


async def run_in_guest(client: GuestClient, container_id: str, image: str, args: list[str], **more: Any) -> None:
    spec = runtime_spec("")
    spec["process"] |= {"args": args} | more
    await client.create_container(CreateContainer(container_id, image, spec))
    await client.start_container(container_id)


async def test_af_vsock_is_dialled_by_the_same_code_and_the_agent_serves_no_container(shared: Machine) -> None:
    """The kernel's transport, over the loopback of the guest's kernel."""
    async with Session(shared.way, "pod", _ignore) as session:
        await session.connect(30)
        client = GuestClient(session)
        environment = ["PATH=/usr/bin", "PYTHONPATH=/vmsandbox.zip"]
        await run_in_guest(client, "loopback", "python", ["/usr/bin/python3", "-c", IN_GUEST], env=environment)
        async with client.output("loopback", Stream.STDOUT) as out, client.output("loopback", Stream.STDERR) as err:
            printed, complaints = await asyncio.gather(read_all(out), read_all(err))
        await client.delete_container("loopback")
    assert complaints == b""
    assert printed.decode().splitlines() == [
        "answered",
        "vsock CID 1, port 5000: nobody listens on it yet",
        "the agent said b''",
    ]


async def test_a_clock_that_is_set_is_seen_and_the_keeper_sets_it_right(shared: Machine) -> None:
    """The code that watches the host's clock, in a guest, whose clock may be set; no daemon is there to set it back."""
    async with Session(shared.way, "pod", _ignore) as session:
        await session.connect(30)
        client = GuestClient(session)
        keeper = ClockKeeper(client, "pod")
        await keeper.check()
        spec = runtime_spec("")
        process = spec["process"]
        process |= {"args": ["/usr/bin/python3", "-c", JUMPS_IN_GUEST], "env": ["PYTHONPATH=/vmsandbox.zip"]}
        for kind in process["capabilities"]:
            process["capabilities"][kind] = [*process["capabilities"][kind], "CAP_SYS_TIME"]
        await client.create_container(CreateContainer("jumps", "python", spec))
        await client.start_container("jumps")
        async with client.output("jumps", Stream.STDOUT) as out, client.output("jumps", Stream.STDERR) as err:
            printed, complaints = await asyncio.gather(read_all(out), read_all(err))
        await client.delete_container("jumps")
        assert (printed.decode().split(), complaints) == (["False", "seen"] * 2, b"")
        told = await keeper.check()
        assert told is not None and told.step and told.nanoseconds / 1e9 == pytest.approx(3600, abs=60)
        assert abs((await keeper.compare()).behind) < 100_000_000


@pytest.mark.parametrize("pause", [0.0, 0.001, 0.005], ids=["at once", "in 1 ms", "in 5 ms"])
async def test_hosts_that_hang_up_before_the_guest_has_answered_cost_no_one_else(shared: Machine, pause: float) -> None:
    """Hang up as a killed daemon does: vhost-device-vsock is about to write to it that the guest has answered."""
    for _ in range(50):
        _, writer = await asyncio.open_unix_connection(dial_socket(shared.device.device.socket.parent))
        writer.write(f"CONNECT {CONTROL_PORT}\n".encode())
        await asyncio.sleep(pause)
        writer.transport.abort()
    async with Session(shared.way, "pod", _ignore) as session:
        await session.connect(30)
        await GuestClient(session).read_clock()
    before = _cpu_seconds(shared.device.identity.pid)
    await asyncio.sleep(1)
    assert _cpu_seconds(shared.device.identity.pid) - before < 0.5


def _cpu_seconds(pid: int) -> float:
    """The CPU time that a process has taken (proc_pid_stat(5), utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class TestAgentInGuest(AgentContract):
    """The whole contract, through a machine. Shutting down comes last in it."""

    @pytest.fixture
    def agent_transport(self, shared: Machine) -> MachineTransport:
        return shared.way

    @pytest.fixture
    async def pod_port(self, host: Host) -> AsyncIterator[int]:
        """An echo server in the pod."""
        await host.run("exec nc -ll -p 7777 -e cat")
        await host.client.exec(
            Exec(host.container, "wait", process_spec("until nc 127.0.0.1 7777 </dev/null; do sleep 0.1; done"))
        )
        assert (await host.exit()).exec_id == "wait"
        yield 7777


async def test_a_burst_through_lost_connections_arrives_whole_and_a_dead_daemon_is_named(own: Machine) -> None:
    burst = "dd if=/dev/zero bs=65536 count=256 2>/dev/null | tr '\\0' x; echo end; exec sleep 1000"
    async with Session(own.way, "pod", _ignore) as session:
        await session.connect(30)
        client = GuestClient(session)
        await run_in_guest(client, "c1", "image", ["/bin/sh", "-c", burst])
        data, losses = bytearray(), 0
        async with client.output("c1", Stream.STDOUT) as output:
            while not data.endswith(b"end\n"):
                data += await anext(output)
                output.acknowledge(output.offset)
                if len(data) > (losses + 1) * 4_000_000:
                    losses += 1
                    await _cut(session)
            assert losses == 4
            assert bytes(data) == b"x" * (16 * 1024 * 1024) + b"end\n"

            reading = asyncio.create_task(anext(output))
            os.kill(own.device.identity.pid, signal.SIGKILL)
            reason = await session.wait_closed()
            assert isinstance(reason, TransportBroken)
            assert f"pid {own.device.identity.pid}) has died" in str(reason)
            with pytest.raises(TransportBroken):
                await reading


async def _cut(session: Session) -> None:
    """Cut the control connection, with which the agent ends all streams."""
    control = await session.connected()
    control._connection._writer.transport.abort()


async def test_whoever_waits_for_a_guest_whose_qemu_has_ended_is_told_at_once() -> None:
    """Before it answers; the deadline is out of reach."""
    async with vsock_daemon(43) as (device, directory):
        with machine(device.device, directory / "console") as qemu:
            async with Session(qemu.way(device), "pod", _ignore) as session, asyncio.timeout(60):
                asyncio.get_running_loop().call_later(1, qemu.process.kill)
                with pytest.raises(Unavailable, match="QEMU has ended"):
                    await session.connect(1e6)
                with pytest.raises(TransportBroken, match="QEMU has ended"):
                    await qemu.way(device).dial(1024)
