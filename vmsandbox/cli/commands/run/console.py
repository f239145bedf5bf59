"""Our own streams as the console of a pod that `vmsandbox run` runs."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from typing_extensions import override

from vmsandbox.cli.commands.detach_keys import DetachKeys
from vmsandbox.cli.commands.tty import talk
from vmsandbox.pod.run import Console, ContainerStreams


@dataclass(frozen=True, slots=True)
class OwnConsole(Console):
    """Our terminal, or what is piped to us."""

    terminal: bool
    keys: bytes = b""
    """The keys that let go of the terminal; none, where the pod cannot run on then."""
    leave: Callable[[], None] | None = None
    """Is called when they were typed; our terminal is as it was before."""

    @override
    async def talk(self, streams: ContainerStreams, started: asyncio.Event) -> None:
        await started.wait()
        keys = DetachKeys(self.keys)
        await talk(streams, stdin=True, terminal=self.terminal, keys=keys, show=self.terminal, left=self.leave)
