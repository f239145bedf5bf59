"""Which accelerators really run a guest on this host: found out by booting the guest image, and remembered.

That /dev/kvm is there proves nothing: in a nested machine QEMU may abort with it, or the guest may never get anywhere.
So a machine without network or disks is booted, until its agent answers.
"""

import asyncio
import contextlib
import json
import platform
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vmsandbox import aio, log
from vmsandbox.errors import FailedPrecondition, Unavailable, VmsandboxError
from vmsandbox.guest.session import Session
from vmsandbox.guest.transport import Transport
from vmsandbox.guest.transports import Transports
from vmsandbox.hypervisor.base import Accelerator, GuestImage, Hypervisor, MachineEvent, MachineSpec
from vmsandbox.hypervisor.console import ConsoleReader
from vmsandbox.images import durable
from vmsandbox.protocol import codec
from vmsandbox.protocol.messages import Event

_log = log.get(__name__)

DEADLINES: Mapping[Accelerator, float] = {Accelerator.KVM: 20.0, Accelerator.TCG: 120.0}
"""Seconds from a machine's start to its agent's answer."""
_MEMORY = 256 * 1024 * 1024
_CONSOLE_LINES = 20
_KVM = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of booting a machine under one accelerator."""

    accelerator: Accelerator
    works: bool
    seconds: float
    """Until the agent answered, or until it was clear that it would not."""
    why_not: str = ""
    """One line; empty where it works."""
    report: str = ""
    """`why_not` with its evidence, over several lines (`VmsandboxError.report`)."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the outcome hangs on; another value of any of these, and it is found out anew."""

    boot: str
    """This boot of the host: kernel modules, their parameters and the firmware's settings do not outlast it."""
    kernel: str
    hypervisor: str
    """Versions of libvirt and QEMU."""
    image: str
    kvm: str
    """Device number, mode and owners of /dev/kvm; empty where there is none."""


@dataclass(frozen=True, slots=True)
class _Cache:
    """The content of the cache file."""

    circumstances: Circumstances
    attempts: tuple[Attempt, ...]


class Prober:
    """Boots machines to see whether they run; remembers what came of it."""

    def __init__(
        self,
        hypervisor: Hypervisor,
        transports: Transports,
        image: GuestImage,
        runtime_directory: Path,
        state_directory: Path,
        *,
        deadlines: Mapping[Accelerator, float] = DEADLINES,
    ) -> None:
        """All arguments stay the caller's.

        Args:
            hypervisor: runs the machines.
            transports: the ways to their agents.
            image: what they boot.
            runtime_directory: of this process; a directory `probe` is made in it for as long as a machine runs.
            state_directory: holds the cache, `accelerators.json`, which processes may share.
            deadlines: seconds per accelerator.
        """
        self._hypervisor = hypervisor
        self._transports = transports
        self._image = image
        self._directory = runtime_directory / "probe"
        self._cache = state_directory / "accelerators.json"
        self._deadlines = deadlines
        self._warned = False
        self._id = uuid.uuid5(uuid.NAMESPACE_URL, self._directory.as_uri()).hex
        """The same for every probe with this directory, so that the next one finds what a killed one has left."""

    async def choose(self, choice: str) -> Accelerator:
        """The accelerator for a configured `auto`, `kvm` or `tcg`. KVM is tried, unless the cache tells.

        Raises:
            FailedPrecondition: kvm is asked for, and does not run a guest here; the evidence says why.
        """
        if choice == Accelerator.TCG.value:
            return Accelerator.TCG
        kvm = await self._remembered(Accelerator.KVM)
        if kvm.works:
            return Accelerator.KVM
        if choice == Accelerator.KVM.value:
            raise FailedPrecondition(
                f"no guest runs under KVM here: {kvm.why_not}",
                hint="accelerator: auto falls back to TCG, which is slow; `vmsandbox check` tries again",
                evidence={"the attempt": kvm.report},
            )
        self._warn(kvm.why_not)
        return Accelerator.TCG

    async def try_all(self) -> tuple[Attempt, ...]:
        """Try every accelerator now, whatever the cache holds, and remember what came of it."""
        attempts = tuple([await self._attempt(accelerator) for accelerator in Accelerator])
        self._remember(_Cache(await self._circumstances(), attempts))
        return attempts

    def _warn(self, why_not: str) -> None:
        if not self._warned:
            _log.warning("machines are emulated (TCG), which is slow: %s; `vmsandbox check` tries KVM again", why_not)
        self._warned = True

    async def _remembered(self, accelerator: Accelerator) -> Attempt:
        now = await self._circumstances()
        cache = self._load()
        if cache is None or cache.circumstances != now:
            cache = _Cache(now, ())
        for attempt in cache.attempts:
            if attempt.accelerator is accelerator:
                return attempt
        attempt = await self._attempt(accelerator)
        self._remember(replace(cache, attempts=(*cache.attempts, attempt)))
        return attempt

    async def _attempt(self, accelerator: Accelerator) -> Attempt:
        begin = time.monotonic()
        try:
            if accelerator is Accelerator.KVM and not _kvm_identity():
                raise FailedPrecondition("this host has no /dev/kvm", hint="switch on virtualization in its firmware")
            await self._boot(accelerator)
        except VmsandboxError as error:
            caller = asyncio.current_task()
            if caller is not None and caller.cancelling():  # Then giving back has failed, and says nothing of KVM.
                raise asyncio.CancelledError from error
            return Attempt(accelerator, False, time.monotonic() - begin, str(error), error.report())
        return Attempt(accelerator, True, time.monotonic() - begin)

    async def _boot(self, accelerator: Accelerator) -> None:
        """Boot a machine until its agent answers; nothing is left of it.

        Raises:
            VmsandboxError: why it did not; the evidence has the last lines of its console.
        """
        await self._give_back()  # what a killed probe has left
        self._directory.mkdir(parents=True, mode=0o711)
        console = ConsoleReader(self._directory / "console.sock")
        events = self._hypervisor.events()
        try:
            transport = await self._transports.start(self._id, self._directory)
            await self._hypervisor.create(self._spec(accelerator, transport))
            async with console, _end_of(self._name, events) as ended:
                await aio.unless(self._answer(transport, self._deadlines[accelerator]), ended)
        except VmsandboxError as error:
            if lines := console.last_lines(_CONSOLE_LINES):
                error.evidence["the guest's console, last lines"] = "\n".join(lines)
            raise
        finally:
            await aio.to_its_end(self._give_back())

    async def _answer(self, transport: Transport, deadline: float) -> None:
        async with Session(transport, "the probe", _ignore, build=self._image.build) as session:
            await session.connect(deadline)

    @property
    def _name(self) -> str:
        return f"vmsandbox-probe-{self._id}"

    def _spec(self, accelerator: Accelerator, transport: Transport) -> MachineSpec:
        return MachineSpec(
            name=self._name,
            uuid=str(uuid.UUID(self._id)),
            title="does a guest run?",
            image=self._image,
            vcpus=1,
            memory=_MEMORY,
            accelerator=accelerator,
            vsock=transport.device,
            console=self._directory / "console.sock",
        )

    async def _give_back(self) -> None:
        await self._hypervisor.destroy(self._name)
        self._transports.stop(self._id, self._directory)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._directory)

    async def _circumstances(self) -> Circumstances:
        return _circumstances(await self._hypervisor.version(), self._image)

    def _load(self) -> _Cache | None:
        """The cache; None where there is none, or another version of this program wrote it."""
        try:
            return codec.decode(_Cache, json.loads(self._cache.read_bytes()))
        except (OSError, ValueError, VmsandboxError):
            return None

    def _remember(self, cache: _Cache) -> None:
        self._cache.parent.mkdir(parents=True, exist_ok=True)
        durable.write(self._cache, json.dumps(codec.encode(cache), indent=2).encode())


@contextlib.asynccontextmanager
async def _end_of(name: str, events: AsyncIterator[MachineEvent]) -> AsyncIterator["asyncio.Future[BaseException]"]:
    """A future of the error that says why a machine has ended, should it end within the context."""
    future: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def watch() -> None:
        async for event in events:
            if event.name == name and not future.done():
                future.set_result(Unavailable(f"the virtual machine ended: {event.reason}"))

    async with aio.background(watch(), f"watch over {name}"):
        yield future


async def _ignore(_: Event) -> None:
    """A machine that runs nothing has no events that matter."""


def _circumstances(hypervisor: str, image: GuestImage) -> Circumstances:
    return Circumstances(
        boot=_BOOT_ID.read_text().strip(),
        kernel=platform.release(),
        hypervisor=hypervisor,
        image=f"{image.kernel.resolve()} {image.build} {image.command_line}",
        kvm=_kvm_identity(),
    )


def _kvm_identity() -> str:
    try:
        status = _KVM.stat()
    except FileNotFoundError:
        return ""
    return f"{status.st_rdev:x} {status.st_mode:o} {status.st_uid}:{status.st_gid}"
