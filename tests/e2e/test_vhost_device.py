"""The vhost-device-vsock transport with the real daemon, and no machine on its other side."""

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.vsock import vhost_device_program
from vmsandbox.claims import MachineUsers
from vmsandbox.errors import FailedPrecondition, InvalidArgument, Unavailable
from vmsandbox.guest.transport import vhost_daemon
from vmsandbox.guest.transport.connection import TransportBroken
from vmsandbox.guest.transport.vhost_device import VhostDevice
from vmsandbox.process import Account, ProcessIdentity

USERS = MachineUsers(Account(1_800_001_000, 1_800_001_002), Account(1_800_001_001, 1_800_001_001))


@pytest.fixture
def program() -> Path:
    return vhost_device_program()


@pytest.fixture
def place() -> Iterator[Path]:
    """Where the daemon's directory is to be, which its user may pass through the parents to."""
    with tempfile.TemporaryDirectory(prefix="vms-") as name:
        Path(name).chmod(0o711)
        yield Path(name) / "vsock"


@pytest.fixture
async def device(place: Path, program: Path) -> AsyncIterator[VhostDevice]:
    device = await VhostDevice.start(place, 42, USERS, program=program)
    yield device
    device.stop()
    await device.wait_ended()


async def test_a_started_daemon_runs_and_its_sockets_are_there(device: VhostDevice, place: Path) -> None:
    assert device.identity.alive()
    assert device.device.socket == place / "vhost.sock"
    assert (place / "vhost.sock").is_socket()
    assert (place / "vsock.sock").is_socket()


async def test_a_dial_before_the_machine_is_there_can_be_retried(device: VhostDevice) -> None:
    for _ in range(3):
        with pytest.raises(Unavailable) as caught:
            await device.dial(1024)
        assert not isinstance(caught.value, TransportBroken)
    assert device.identity.alive()


async def test_the_guest_is_ready_when_the_daemon_says_that_it_connects(device: VhostDevice, place: Path) -> None:
    ready = asyncio.create_task(device.ready())
    await asyncio.sleep(0.05)
    assert not ready.done()
    _, writer = await asyncio.open_unix_connection(str(place / "vsock.sock_1026"))
    await ready
    writer.close()
    await writer.wait_closed()
    await device.ready()  # and stays so
    await VhostDevice(place, 42, device.identity).ready()


async def test_a_guest_is_never_ready_when_its_daemon_has_died(device: VhostDevice) -> None:
    ready = asyncio.create_task(device.ready())
    await asyncio.sleep(0)
    os.kill(device.identity.pid, signal.SIGKILL)
    with pytest.raises(TransportBroken, match=f"pid {device.identity.pid}"):
        await ready


async def test_waiting_for_a_guest_can_be_given_up_and_begun_again(device: VhostDevice, place: Path) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await device.ready()
    _, writer = await asyncio.open_unix_connection(str(place / "vsock.sock_1026"))
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


async def test_stopping_removes_the_sockets_and_can_be_repeated(device: VhostDevice, place: Path) -> None:
    device.stop()
    device.stop()
    await device.wait_ended()
    assert not device.identity.alive()
    assert {path.name for path in place.iterdir()} == {"vsock.log"}


async def test_a_daemon_is_found_again_by_its_directory(device: VhostDevice, place: Path) -> None:
    assert vhost_daemon.find(place, 42) == device.identity
    assert vhost_daemon.find(place / "other", 42) is None
    again = VhostDevice(place, 42, device.identity)
    with pytest.raises(Unavailable):
        await again.dial(1024)


def access(path: Path, account: Account) -> str:
    """Return the error when a process of an account connects to a Unix socket as a stranger."""
    script = f"import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r})"
    ids = [f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
    ran = subprocess.run(
        ["setpriv", *ids, "/usr/bin/python3", "-c", script], capture_output=True, text=True, check=False
    )
    return ran.stderr.splitlines()[-1] if ran.returncode else "connected"


async def test_a_process_of_another_user_is_not_taken_for_the_daemon(device: VhostDevice, place: Path) -> None:
    os.chown(vhost_daemon.ready_socket(place), 65534, 0)
    assert vhost_daemon.find(place, 42) is None, "anybody can have its command line"


async def test_qemu_may_open_the_vhost_socket_alone_and_nobody_else_any(device: VhostDevice, place: Path) -> None:
    other = Account(1_800_001_004, USERS.qemu.gid)
    assert access(place / "vhost.sock", other) == "PermissionError: [Errno 13] Permission denied"
    assert access(place / "vsock.sock", other) == "PermissionError: [Errno 13] Permission denied"
    assert access(place / "vsock.sock", USERS.qemu) == "PermissionError: [Errno 13] Permission denied"
    assert access(place / "vhost.sock", USERS.qemu) == "connected"


async def test_nobody_but_root_reads_the_log(device: VhostDevice, place: Path) -> None:
    status = vhost_daemon.log_file(place).stat()
    assert (status.st_uid, status.st_mode & 0o777) == (0, 0o600)


async def test_the_daemon_cannot_change_the_sockets_that_are_dialled(device: VhostDevice, place: Path) -> None:
    ids = [f"--reuid={USERS.vsock.uid}", f"--regid={USERS.vsock.gid}", "--clear-groups"]
    for command in (["rm", "-f", f"{place}/vsock.sock"], ["touch", f"{place}/new"], ["chmod", "777", str(place)]):
        assert subprocess.run(["setpriv", *ids, *command], capture_output=True, check=False).returncode == 1


async def test_the_daemon_has_no_privileges_and_its_own_empty_network(device: VhostDevice) -> None:
    process = Path(f"/proc/{device.identity.pid}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {str(USERS.vsock.uid)}
    assert status["Groups"].split() == [] and status["NoNewPrivs"] == "1"
    assert all(int(status[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
    for name in ("net", "ipc"):
        assert os.readlink(process / "ns" / name) != os.readlink(f"/proc/self/ns/{name}")
    links = [line.split(":")[0].strip() for line in (process / "net/dev").read_text().splitlines()[2:]]
    assert links == ["lo"]


async def test_a_log_that_is_full_neither_grows_nor_ends_the_daemon(place: Path) -> None:
    program = place.parent / "flooding"
    program.write_text("#!/bin/sh\nwhile :; do echo a guest has something to complain about >&2; done\n")
    program.chmod(0o755)
    starting = asyncio.create_task(VhostDevice.start(place, 42, USERS, program=program))
    log = vhost_daemon.log_file(place)
    async with asyncio.timeout(60):
        while not log.exists() or log.stat().st_size < vhost_daemon.LOG_LIMIT:
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.2)
    assert log.stat().st_size == vhost_daemon.LOG_LIMIT
    assert not starting.done(), "it goes on, and has not made its sockets yet"
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


async def test_a_path_too_long_for_a_socket_is_refused_before_anything_starts(tmp_path: Path) -> None:
    directory = tmp_path / ("x" * 100)
    with pytest.raises(InvalidArgument, match="107"):
        await VhostDevice.start(directory, 3, USERS, program=Path("/nonexistent"))
    assert not directory.exists()


async def test_a_daemon_that_ends_at_once_shows_what_it_printed(place: Path) -> None:
    program = place.parent / "broken"
    program.write_text("#!/bin/sh\necho no such option >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(Unavailable) as caught:
        await VhostDevice.start(place, 3, USERS, program=program)
    assert "no such option" in caught.value.report()


async def test_a_missing_program_is_named(place: Path) -> None:
    with pytest.raises(FailedPrecondition, match="nonexistent"):
        await VhostDevice.start(place, 3, USERS, program=Path("/nonexistent"))


async def test_a_reused_pid_is_not_taken_for_the_daemon(tmp_path: Path) -> None:
    own = ProcessIdentity.of(os.getpid())
    assert own is not None
    device = VhostDevice(tmp_path, 3, ProcessIdentity(own.pid, own.start_time - 1))
    assert isinstance(await device.diagnose(), TransportBroken)
    device.stop()
