"""A machine that is booted to see whether it runs: without network or disks, until its agent answers."""

import asyncio
import contextlib
import shutil
import uuid
from pathlib import Path

from vmsandbox import aio, fs
from vmsandbox.claims import UserRange
from vmsandbox.errors import VmsandboxError
from vmsandbox.guest import Session, Transport, Transports, secret_offered
from vmsandbox.hypervisor import Accelerator, ConsoleReader, GuestImage, Hypervisor, MachineSpec, end_of
from vmsandbox.model import MachineSize
from vmsandbox.process import Account
from vmsandbox.protocol.messages import Event
from vmsandbox.protocol.secret import random_bytes
from vmsandbox.sandbox.machines import let_kill_first

_SIZE = MachineSize(vcpus=1, memory=256 * 1024 * 1024)
_CONSOLE_LINES = 20


class Trial:
    """Boots one machine at a time, of which nothing is left."""

    def __init__(
        self, hypervisor: Hypervisor, transports: Transports, users: UserRange, image: GuestImage, directory: Path
    ) -> None:
        """All arguments stay the caller's.

        Args:
            hypervisor: runs the machine.
            transports: the ways to its agent.
            users: gives its processes theirs.
            image: what it boots.
            directory: is made for as long as a machine runs.
        """
        self._hypervisor = hypervisor
        self._transports = transports
        self._users = users
        self._image = image
        self._directory = directory
        self._id = uuid.uuid5(uuid.NAMESPACE_URL, directory.as_uri()).hex
        """The same for every trial in this directory, so that the next one finds what a killed one has left."""

    async def boot(self, accelerator: Accelerator, deadline: float) -> None:
        """Boot a machine until its agent answers, for at most `deadline` seconds.

        Raises:
            VmsandboxError: why it did not; the evidence has the last lines of its console.
        """
        await self._give_back()  # what a killed trial has left
        fs.make_directory(self._directory, fs.PASSABLE)
        console = ConsoleReader(self._directory / "console.sock")
        try:
            users = await self._users.allocate(self._id)
            transport = await self._transports.start(self._id, self._vsock, users)
            secret = random_bytes()
            async with end_of(self._hypervisor.events(), self._name) as ended:
                await self._hypervisor.create(self._spec(accelerator, transport, users.qemu))
                await asyncio.to_thread(let_kill_first, users)
                async with console, secret_offered(secret, self._port):
                    await aio.unless(self._answer(transport, secret, deadline), ended)
        except VmsandboxError as error:
            if lines := console.last_lines(_CONSOLE_LINES):
                error.evidence["the guest's console, last lines"] = "\n".join(lines)
            raise
        finally:
            await aio.to_its_end(self._give_back())

    async def _answer(self, transport: Transport, secret: bytes, deadline: float) -> None:
        async with Session(transport, "the probe", _ignore, build=self._image.build, secret=secret) as session:
            await session.connect(deadline)

    @property
    def _name(self) -> str:
        return f"vmsandbox-probe-{self._id}"

    @property
    def _port(self) -> Path:
        return self._directory / "secret.sock"

    @property
    def _vsock(self) -> Path:
        return self._directory / "vsock"

    def _spec(self, accelerator: Accelerator, transport: Transport, account: Account) -> MachineSpec:
        return MachineSpec(
            name=self._name,
            uuid=str(uuid.UUID(self._id)),
            title="does a guest run?",
            image=self._image,
            size=_SIZE,
            most=_SIZE,
            accelerator=accelerator,
            account=account,
            vsock=transport.device,
            console=self._directory / "console.sock",
            secret=self._port,
        )

    async def _give_back(self) -> None:
        await self._hypervisor.destroy(self._name)
        self._transports.stop(self._id, self._vsock)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._directory)
        await asyncio.to_thread(self._users.release, self._id)


async def _ignore(_: Event) -> None:
    """A machine that runs nothing has no events that matter."""
