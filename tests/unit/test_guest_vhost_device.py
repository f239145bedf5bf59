"""The vhost-device-vsock transport with the real daemon, and no machine on its other side."""

import asyncio
import grp
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.vsock import vhost_device_program
from vmsandbox.errors import FailedPrecondition, InvalidArgument, Unavailable
from vmsandbox.guest import vhost_daemon
from vmsandbox.guest.transport import TransportBroken
from vmsandbox.guest.vhost_device import VhostDevice
from vmsandbox.process import ProcessIdentity


@pytest.fixture
def program() -> Path:
    return vhost_device_program()


@pytest.fixture
async def device(tmp_path: Path, program: Path) -> AsyncIterator[VhostDevice]:
    device = await VhostDevice.start(tmp_path, 42, program=program)
    yield device
    device.stop()
    await device.wait_ended()


async def test_a_started_daemon_runs_and_its_sockets_are_there(device: VhostDevice, tmp_path: Path) -> None:
    assert device.identity.alive()
    assert device.device.socket == tmp_path / "vhost.sock"
    assert (tmp_path / "vhost.sock").is_socket()
    assert (tmp_path / "vsock.sock").is_socket()


async def test_a_dial_before_the_machine_is_there_can_be_retried(device: VhostDevice) -> None:
    for _ in range(3):
        with pytest.raises(Unavailable) as caught:
            await device.dial(1024)
        assert not isinstance(caught.value, TransportBroken)
    assert device.identity.alive()


async def test_the_guest_is_ready_when_the_daemon_says_that_it_connects(device: VhostDevice, tmp_path: Path) -> None:
    ready = asyncio.create_task(device.ready())
    await asyncio.sleep(0.05)
    assert not ready.done()
    _, writer = await asyncio.open_unix_connection(str(tmp_path / "vsock.sock_1026"))
    await ready
    writer.close()
    await writer.wait_closed()
    await device.ready()  # and stays so
    await VhostDevice(tmp_path, 42, device.identity).ready()


async def test_a_guest_is_never_ready_when_its_daemon_has_died(device: VhostDevice) -> None:
    ready = asyncio.create_task(device.ready())
    await asyncio.sleep(0)
    os.kill(device.identity.pid, signal.SIGKILL)
    with pytest.raises(TransportBroken, match=f"pid {device.identity.pid}"):
        await ready


async def test_waiting_for_a_guest_can_be_given_up_and_begun_again(device: VhostDevice, tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await device.ready()
    _, writer = await asyncio.open_unix_connection(str(tmp_path / "vsock.sock_1026"))
    await device.ready()
    writer.close()
    await writer.wait_closed()


async def test_the_death_of_the_daemon_is_noticed_and_named(device: VhostDevice) -> None:
    watch = asyncio.create_task(device.wait_ended())
    assert await device.diagnose() is None
    os.kill(device.identity.pid, signal.SIGKILL)
    await watch
    with pytest.raises(TransportBroken, match=f"pid {device.identity.pid}"):
        await device.dial(1024)


async def test_a_connection_that_the_dying_daemon_ends_is_diagnosed_as_its_death(device: VhostDevice) -> None:
    """Without waiting for the death: whoever sees its connection end asks at once."""
    os.kill(device.identity.pid, signal.SIGSTOP)
    while not _stopped(device.identity.pid):
        await asyncio.sleep(0.01)
    dial = asyncio.create_task(device.dial(1024))
    await asyncio.sleep(0)
    os.kill(device.identity.pid, signal.SIGKILL)
    with pytest.raises(TransportBroken):
        await dial


def _stopped(pid: int) -> bool:
    states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").iterdir()]
    return set(states) == {"T"}


async def test_stopping_removes_the_sockets_and_can_be_repeated(device: VhostDevice, tmp_path: Path) -> None:
    device.stop()
    device.stop()
    await device.wait_ended()
    assert not device.identity.alive()
    assert {path.name for path in tmp_path.iterdir()} == {"vsock.log"}


async def test_a_daemon_is_found_again_by_its_directory(device: VhostDevice, tmp_path: Path) -> None:
    assert vhost_daemon.find(tmp_path, 42) == device.identity
    assert vhost_daemon.find(tmp_path / "other", 42) is None
    again = VhostDevice(tmp_path, 42, device.identity)
    with pytest.raises(Unavailable):
        await again.dial(1024)


async def test_the_hypervisors_group_may_open_the_vhost_socket_alone(tmp_path: Path, program: Path) -> None:
    group = grp.getgrnam("nogroup")
    device = await VhostDevice.start(tmp_path, 3, group="nogroup", program=program)
    try:
        stat = (tmp_path / "vhost.sock").stat()
        assert (stat.st_gid, stat.st_mode & 0o777) == (group.gr_gid, 0o660)
        assert (tmp_path / "vsock.sock").stat().st_mode & 0o022 == 0
    finally:
        device.stop()
        await device.wait_ended()


async def test_an_unknown_group_leaves_no_daemon(tmp_path: Path, program: Path) -> None:
    with pytest.raises(FailedPrecondition, match="no-such-group"):
        await VhostDevice.start(tmp_path, 3, group="no-such-group", program=program)
    assert vhost_daemon.find(tmp_path, 3) is None
    assert not (tmp_path / "vhost.sock").exists()


async def test_a_path_too_long_for_a_socket_is_refused_before_anything_starts(tmp_path: Path) -> None:
    directory = tmp_path / ("x" * 100)
    with pytest.raises(InvalidArgument, match="107"):
        await VhostDevice.start(directory, 3, program=Path("/nonexistent"))
    assert not directory.exists()


async def test_a_daemon_that_ends_at_once_shows_what_it_printed(tmp_path: Path) -> None:
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\necho no such option >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(Unavailable) as caught:
        await VhostDevice.start(tmp_path, 3, program=program)
    assert "no such option" in caught.value.report()


async def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="nonexistent"):
        await VhostDevice.start(tmp_path, 3, program=Path("/nonexistent"))


async def test_a_reused_pid_is_not_taken_for_the_daemon(tmp_path: Path) -> None:
    own = ProcessIdentity.of(os.getpid())
    assert own is not None
    device = VhostDevice(tmp_path, 3, ProcessIdentity(own.pid, own.start_time - 1))
    assert isinstance(await device.diagnose(), TransportBroken)
    device.stop()
