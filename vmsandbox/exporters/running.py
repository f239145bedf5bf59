"""The exporters of a daemon, as its configuration wants them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmsandbox import log
from vmsandbox.config import Config, MetricsConfig
from vmsandbox.exporters.scrapes import ScrapeServer
from vmsandbox.exporters.traces import sending_traces
from vmsandbox.telemetry import recording

if TYPE_CHECKING:  # `config check` loads this package, and needs no service.
    from vmsandbox.service import RuntimeService

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Exporters:
    """The exporters that run; a reload changes them."""

    scrapes: ScrapeServer | None

    def renew_certificate(self) -> None:
        """Read the files of the certificate again. Raises FailedPrecondition: the old ones stay then."""
        if self.scrapes is not None:
            self.scrapes.renew_certificate()


@contextlib.asynccontextmanager
async def exporting(config: Config, service: "RuntimeService") -> AsyncIterator[Exporters]:
    """Record, serve and send what the configuration asks for, while the context lasts.

    Raises:
        FailedPrecondition: the address is taken, a certificate cannot be used, or a package is not installed.
    """
    async with contextlib.AsyncExitStack() as stack:
        if config.traces.endpoint is not None:
            await stack.enter_async_context(sending_traces(config.traces))
        scrapes = None
        if config.metrics.address is not None:
            scrapes = await stack.enter_async_context(serving_metrics(config.metrics, service))
        yield Exporters(scrapes)


@contextlib.asynccontextmanager
async def serving_metrics(config: MetricsConfig, service: "RuntimeService") -> AsyncIterator[ScrapeServer]:
    """Record all that this process does, and serve it, while the context lasts. Raises FailedPrecondition."""
    from vmsandbox.exporters.gauges import Gauges
    from vmsandbox.exporters.prometheus import Figures

    figures = Figures()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(recording(figures))
        gauges = await stack.enter_async_context(Gauges(service).watching())

        async def render(accept: str) -> tuple[bytes, str]:
            values = gauges.read()
            return await asyncio.to_thread(figures.render, values, accept)

        server = ScrapeServer(config, render)
        await stack.enter_async_context(server.running())
        _log.info(
            "metrics are served at %s://%s/metrics", "https" if config.tls.certificate else "http", config.address
        )
        yield server
