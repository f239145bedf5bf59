"""A libvirtd of vmsandbox's own, for hosts on which no other one answers.

It runs as a service would: in a session of its own, below an init that reaps (`tini -s`), started again when it
crashes, with a virtlogd that bounds the logs of machines. It outlives the process that started it, and ends by itself
when it has had no client and no machine for `IDLE` seconds. Its files are in one directory, which it sees in the places
that are compiled into libvirtd, in a mount namespace of its own; so it and the system's libvirtd never meet.

Whoever starts or ends it holds `start.lock`; whoever uses it shares `use.lock`; it holds `alive.lock` while it lives.
All three are flock(2), so that a process that is killed leaves nothing to be mended.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from vmsandbox import aio, fs, log, process
from vmsandbox.errors import Unavailable
from vmsandbox.fs.durable import replace_whole
from vmsandbox.fs.locks import locked_async, try_flock, try_locked
from vmsandbox.node import libvirt_service as service
from vmsandbox.node.libvirt_files import answers, has_machines, last_words, tidy_logs
from vmsandbox.process import ProcessIdentity, stat_of

_log = log.get(__name__)

IDLE = 30
"""Seconds without a client and a machine after which it ends."""
START_DEADLINE = 20.0
END_DEADLINE = 10.0
_LOOK_AT_LOGS = 60.0
_POLL = 0.05
_TOOL = 10.0

_PASSABLE = ("", "lib", "lib/qemu")
_PRIVATE = ("etc", "cache", "log", "run")


@dataclass(frozen=True, slots=True)
class OwnLibvirt:
    """The libvirtd whose files are in a directory."""

    directory: Path
    shared: Path
    """A directory in which mounts that are made later are seen by it."""

    @property
    def uri(self) -> str:
        """The URI at which libvirt's clients reach it (also `virsh -c URI`)."""
        return f"qemu:///system?socket={self._socket}"

    @property
    def has_machines(self) -> bool:
        """Whether machines were started in it that have not ended since."""
        return has_machines(self.directory / "run")

    def is_alive(self) -> bool:
        """Whether it runs, or is just being started."""
        if not self._alive.exists():
            return False
        with try_locked(self._alive) as free:
            return not free

    @contextlib.asynccontextmanager
    async def used(self) -> AsyncIterator[None]:
        """Have it run while the context lasts, then end it unless it has machines or somebody else uses it.

        Raises:
            FailedPrecondition: a program is missing, or this process is restricted, as it would be.
            Unavailable: it does not answer in time; what it has logged is the evidence.
        """
        self._make_directories()
        with _opened(self.directory / "use.lock") as use:
            await self.ensure(use)
            try:
                async with aio.attendant(self._keep_logs(), f"logs of {self.directory}"):
                    yield
            finally:
                await aio.to_its_end(self._end_if_unused(use))

    async def ensure(self, use: int = -1) -> None:
        """Start it unless it runs. Raises as `used`.

        Args:
            use: a descriptor of `use.lock`, which is shared before anybody can end it.
        """
        async with locked_async(self.directory / "start.lock"):
            if use >= 0:
                try_flock(use, shared=True)
            await self._answering()

    async def end(self) -> None:
        """End it; machines go on. Succeeds when it does not run."""
        identity = self._identity()
        if identity is not None and self.is_alive():
            identity.terminate()
            try:
                async with asyncio.timeout(END_DEADLINE):
                    await identity.ended()
            except TimeoutError:
                _log.warning("the libvirtd in %s did not end within %g s, and is killed", self.directory, END_DEADLINE)
            self._kill_session(identity)
        self._pid.unlink(missing_ok=True)

    @property
    def _socket(self) -> Path:
        return self.directory / "run/libvirt-sock"

    @property
    def _pid(self) -> Path:
        return self.directory / "pid"

    @property
    def _alive(self) -> Path:
        return self.directory / "alive.lock"

    def _make_directories(self) -> None:
        for passable in _PASSABLE:
            fs.make_directory(self.directory / passable, fs.PASSABLE)
        for private in _PRIVATE:
            fs.make_directory(self.directory / private, 0o700)

    async def _start(self) -> None:
        service.check_rights()
        service.check_programs()
        for name, text in service.CONFIGURATION.items():
            replace_whole(self.directory / "etc" / name, text.encode(), 0o600)
        await self._share()
        _log.info("starting a libvirtd in %s, since none answers at qemu:///system", self.directory)
        command = service.start_command(self.directory, IDLE)
        starting = await process.start_daemon(command, self.directory / "log/start.log")
        while starting.alive() and not self.is_alive():  # noqa: ASYNC110 - the lock of another process has no event
            await asyncio.sleep(_POLL)

    async def _share(self) -> None:
        """Make `shared` a shared mount, as everything is on a host with systemd."""
        fs.make_directory(self.shared, fs.PASSABLE)
        shown = await process.run(["findmnt", "-n", "-o", "PROPAGATION", "-T", str(self.shared)], timeout=_TOOL)
        if b"shared" not in shown.stdout:
            await process.run(["mount", "--rbind", str(self.shared), str(self.shared)], timeout=_TOOL)
            await process.run(["mount", "--make-rshared", str(self.shared)], timeout=_TOOL)

    async def _answering(self) -> None:
        """Start it unless it runs, also if it ends meanwhile; return when it takes connections. Raises Unavailable."""
        trying = AsyncRetrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_fixed(_POLL),
            stop=stop_after_delay(START_DEADLINE),
            reraise=True,
        )
        await trying(self._knock)

    async def _knock(self) -> None:
        if not self.is_alive():
            await self._start()
        if not answers(self._socket):
            self._end_orphans()
            raise Unavailable(
                f"the libvirtd in {self.directory} has not answered for {START_DEADLINE:g} s",
                hint="its log may say why; `vmsandbox serve` starts it again when it has ended",
                evidence={"log": last_words(self.directory / "log")},
            )

    def _end_orphans(self) -> None:
        """Kill what is left of one whose init was killed, e.g. its virtlogd: nothing starts its libvirtd again."""
        identity = self._identity()
        if identity is not None and not identity.alive() and self.is_alive():
            self._kill_session(identity)

    def _kill_session(self, leader: ProcessIdentity) -> None:
        """Kill those of a session that hold `alive.lock`: no others are ours. Machines have sessions of their own."""
        if ProcessIdentity.of(leader.pid) not in (None, leader):
            return  # The number of a session is not reused while it has a process.
        lock = self._alive.stat()
        for pid in (int(directory.name) for directory in Path("/proc").glob("[0-9]*")):
            with contextlib.suppress(OSError):  # It has ended.
                member = ProcessIdentity.of(pid)
                if member is not None and int(stat_of(pid)[3]) == leader.pid and _has_open(pid, lock):
                    member.kill()

    async def _keep_logs(self) -> None:
        while True:
            tidy_logs(self.directory)
            await asyncio.sleep(_LOOK_AT_LOGS)

    async def _end_if_unused(self, use: int) -> None:
        async with locked_async(self.directory / "start.lock"):
            if not try_flock(use) or any((self.directory / "run/qemu").glob("*.xml")):
                return
            await self.end()
            await process.run(["umount", "--lazy", str(self.shared)], timeout=_TOOL, check=False)  # Else there is none.

    def _identity(self) -> ProcessIdentity | None:
        try:
            pid, start_time = self._pid.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return ProcessIdentity(int(pid), int(start_time))


def _has_open(pid: int, file: os.stat_result) -> bool:
    """Whether a process has a file open. Raises OSError when it ends meanwhile."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # It was closed.
            if os.path.samestat(descriptor.stat(), file):
                return True
    return False


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
