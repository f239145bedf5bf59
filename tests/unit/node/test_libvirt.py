"""Which libvirt `libvirt: auto` means, and the files of the libvirtd of our own."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import until
from vmsandbox.config import Config
from vmsandbox.errors import FailedPrecondition, Unavailable
from vmsandbox.fs.locks import locked, try_flock
from vmsandbox.node import libvirt_files, libvirt_service, own_libvirt
from vmsandbox.node.libvirt import is_embedded, is_own
from vmsandbox.node.libvirt import own_libvirt as own_of_config
from vmsandbox.node.own_libvirt import OwnLibvirt
from vmsandbox.process import ProcessIdentity

SANDBOX = "0123456789abcdef0123456789abcdef"


class Libvirts:
    """The directories of both libvirts."""

    def __init__(self, directory: Path) -> None:
        self.system = directory / "system"
        self.own = OwnLibvirt(directory / "own", directory / "serve")
        for run in (self.system, self.own.directory / "run"):
            (run / "qemu").mkdir(parents=True)

    @property
    def is_own(self) -> bool:
        return is_own(self.own, self.system)


@pytest.fixture
def libvirts(tmp_path: Path) -> Libvirts:
    return Libvirts(tmp_path)


def start_machine(run: Path, name: str = f"vmsandbox-{SANDBOX}") -> None:
    (run / "qemu" / f"{name}.xml").touch()


@pytest.fixture
def system_answers(libvirts: Libvirts) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(libvirts.system / "libvirt-sock"))
        listening.listen()
        yield


@pytest.mark.usefixtures("system_answers")
def test_the_systems_is_taken_where_it_answers(libvirts: Libvirts) -> None:
    assert not libvirts.is_own


def test_our_own_is_taken_where_the_systems_does_not_answer(libvirts: Libvirts) -> None:
    assert libvirts.is_own
    with socket.socket(socket.AF_UNIX) as bound:  # A killed libvirtd has left its socket.
        bound.bind(os.fspath(libvirts.system / "libvirt-sock"))
    assert libvirts.is_own


@pytest.mark.usefixtures("system_answers")
def test_our_own_stays_while_it_has_machines(libvirts: Libvirts) -> None:
    start_machine(libvirts.own.directory / "run")
    assert libvirts.is_own


@pytest.mark.usefixtures("system_answers")
def test_a_machine_that_only_tries_an_accelerator_binds_nobody(libvirts: Libvirts) -> None:
    start_machine(libvirts.own.directory / "run", f"vmsandbox-probe-{SANDBOX}")
    assert not libvirts.is_own


def test_machines_of_the_systems_that_does_not_answer_are_not_left_alone(libvirts: Libvirts) -> None:
    start_machine(libvirts.system)
    with pytest.raises(Unavailable, match="qemu:///system has machines of vmsandbox") as caught:
        is_own(libvirts.own, libvirts.system)
    assert "libvirtd.socket" in caught.value.hint


def test_machines_of_others_in_the_systems_do_not_matter(libvirts: Libvirts) -> None:
    start_machine(libvirts.system, "debian")
    assert libvirts.is_own


def test_it_does_not_live_before_it_was_started(libvirts: Libvirts) -> None:
    assert not libvirts.own.is_alive()


@contextlib.contextmanager
def left_of_a_session(own: OwnLibvirt, lock: int | None = None) -> Iterator[ProcessIdentity]:
    """Have a process of a session whose leader, the init that `own` has recorded, has ended."""
    script = 'read -r stat <"/proc/$$/stat"; set -- $stat; echo "$$ ${22}" >"$0"; sleep 1000 & echo $!'
    command = ["sh", "-c", script, str(own.directory / "pid")]
    descriptors = () if lock is None else (lock,)
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, pass_fds=descriptors) as leader:
        assert leader.stdout is not None
        member = ProcessIdentity.of(int(leader.stdout.readline()))
        assert leader.wait() == 0 and member is not None
        try:
            yield member
        finally:
            member.kill()


async def have_it_started_without_an_answer(own: OwnLibvirt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_libvirt, "START_DEADLINE", 0.1)
    with pytest.raises(Unavailable, match="has not answered"):
        await own.ensure()


async def test_an_unrelated_session_with_the_number_of_its_init_survives(
    libvirts: Libvirts, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = libvirts.own
    with left_of_a_session(own) as stranger, locked(own.directory / "alive.lock"):
        await have_it_started_without_an_answer(own, monkeypatch)
        assert stranger.alive()


@pytest.mark.parametrize("is_ended", [False, True], ids=["before the next one starts", "when it is ended"])
async def test_what_an_init_that_was_killed_has_left_is_killed(
    libvirts: Libvirts, monkeypatch: pytest.MonkeyPatch, is_ended: bool
) -> None:
    own = libvirts.own
    with (own.directory / "alive.lock").open("w") as lock:
        assert try_flock(lock.fileno())
        with left_of_a_session(own, lock.fileno()) as virtlogd:
            if is_ended:
                await own.end()
            else:
                await have_it_started_without_an_answer(own, monkeypatch)
            await until(lambda: not virtlogd.alive())


async def test_its_init_is_forgotten_when_it_is_ended(libvirts: Libvirts) -> None:
    own = libvirts.own
    with left_of_a_session(own) as stranger:
        await own.end()
        assert stranger.alive() and not (own.directory / "pid").exists()


def test_its_directory_is_the_nodes(tmp_path: Path) -> None:
    own = own_of_config(Config(run_directory=tmp_path))
    assert (own.directory, own.shared) == (tmp_path / "libvirtd", tmp_path / "serve")
    assert own.uri.startswith(f"qemu:///system?socket={tmp_path}/libvirtd/run/")


def test_an_embedded_libvirt_is_told_by_its_uri() -> None:
    assert is_embedded("qemu:///embed?root=/run/x")
    assert not is_embedded("auto")
    assert not is_embedded("qemu:///system")


def test_its_machines_write_no_core_files_as_those_of_an_embedded_libvirt() -> None:
    """The daemon has lowered the limit, and libvirt 11 without CAP_SYS_RESOURCE does not start a machine otherwise."""
    assert "\nmax_core = 0\n" in libvirt_service.CONFIGURATION["qemu.conf"]


def test_logs_of_machines_that_ended_long_ago_go(libvirts: Libvirts) -> None:
    logs = libvirts.own.directory / "log/qemu"
    logs.mkdir(parents=True)
    start_machine(libvirts.own.directory / "run", "running")
    long_ago = time.time() - libvirt_files.KEPT - 1
    for name, at in (("running.log", long_ago), ("ended.log", long_ago), ("ended.log.0", long_ago), ("new.log", None)):
        (logs / name).touch()
        if at:
            os.utime(logs / name, (at, at))
    libvirt_files.tidy_logs(libvirts.own.directory)
    assert {path.name for path in logs.iterdir()} == {"running.log", "new.log"}


def test_libvirtds_own_log_is_bounded(libvirts: Libvirts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libvirt_files, "LOG_LIMIT", 10)
    log = libvirts.own.directory / "log/libvirtd.log"
    log.parent.mkdir()
    log.write_bytes(b"x" * 10)
    libvirt_files.tidy_logs(libvirts.own.directory)
    assert log.stat().st_size == 10
    log.write_bytes(b"x" * 11)
    libvirt_files.tidy_logs(libvirts.own.directory)
    assert log.stat().st_size == 0


async def test_what_is_not_installed_is_named(libvirts: Libvirts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libvirt_service, "found", lambda name: None if name == "virtlogd" else f"/usr/sbin/{name}")
    monkeypatch.setattr(libvirt_service, "check_rights", lambda: None)
    with pytest.raises(FailedPrecondition, match="virtlogd is not installed") as caught:
        async with libvirts.own.used():
            pytest.fail("it cannot be started")
    assert "apt-get install" in caught.value.hint


def test_a_restricted_process_does_not_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self: "Name:\tserve\nNoNewPrivs:\t1\n")
    with pytest.raises(FailedPrecondition, match="NoNewPrivileges") as caught:
        libvirt_service.check_rights()
    assert "libvirt-daemon-system" in caught.value.hint
