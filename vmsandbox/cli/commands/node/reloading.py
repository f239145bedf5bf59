"""SIGHUP: a daemon reads its configuration again."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from vmsandbox import aio, log
from vmsandbox.cli.commands.node.service_manager import notify, notify_reloading
from vmsandbox.config import Config, ConfigFile, Effect, changes, in_order, read_file, reloaded
from vmsandbox.cri.server import NodeInfo
from vmsandbox.errors import VmsandboxError, together
from vmsandbox.exporters import Exporters
from vmsandbox.node.reloading import reload_host
from vmsandbox.node.settings import mistakes_of_host
from vmsandbox.sandbox.machines import Host
from vmsandbox.service import RuntimeService
from vmsandbox.streaming.server import StreamingServer

_log = log.get("vmsandbox.daemon")


@dataclass(slots=True)
class Reloading:
    """The objects that a reload changes. The configuration in effect is `config`."""

    file: Path | None
    """The file that is read again; None: the default one."""
    config: Config
    host: Host
    service: RuntimeService
    streaming: StreamingServer
    exporters: Exporters
    node: NodeInfo
    configure_log: Callable[[Config], None]

    @contextlib.asynccontextmanager
    async def on_signal(self) -> AsyncIterator[None]:
        """Reload at each SIGHUP while the context lasts. Of those that come during a reload the last one counts."""
        asked, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, asked.set)
        try:
            async with aio.attendant(self._reload_when(asked), "reloading the configuration"):
                yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)

    async def _reload_when(self, asked: asyncio.Event) -> None:
        while True:
            await asked.wait()
            asked.clear()
            notify_reloading()
            await self.reload()
            notify("READY=1")

    async def reload(self) -> None:
        """Read the file again, and take its settings; with a mistake in it nothing changes. The log says which."""
        try:
            told = await self._reload()
        except VmsandboxError as error:
            extra = log.of_error(error)
            _log.error("the configuration is not reloaded, and nothing changes: %s", error, extra=extra)
        except Exception:  # A defect must not keep the daemon from hearing the next signal.
            _log.exception("the configuration is not reloaded")
        else:
            _log.info("the configuration is reloaded: %s", told)

    async def _reload(self) -> str:
        file = read_file(self.file)
        if mistakes := await _mistakes(file):
            raise together(mistakes)
        self.streaming.renew_certificate()
        self.exporters.renew_certificate()
        before, after = self.config, reloaded(self.config, file.config)
        await reload_host(self.host, before, after)
        if before.limits != after.limits:
            self.service.limit(after.limits)
        self.node.handlers, self.node.config = after.machine_handlers, asdict(after)
        self.config = after
        self.configure_log(after)
        return _told(before, file.config)


async def _mistakes(file: ConfigFile) -> tuple[VmsandboxError, ...]:
    return in_order(file.mistakes or await mistakes_of_host(file))


def _told(before: Config, after: Config) -> str:
    """The settings that differ, by the effect of a reload."""
    differing = changes(before, after)
    named = {effect: [change.setting for change in differing if change.effect is effect] for effect in Effect}
    parts = [f"{effect.value}: {', '.join(settings)}" for effect, settings in named.items() if settings]
    return "; ".join(parts) or "no setting differs"
