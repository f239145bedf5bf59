"""The command line against a daemon in front of the fakes, whose loop runs in a thread of its own."""

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.support.cri import IMAGE, Served, served
from vmsandbox.cli.main import main
from vmsandbox.model import ContainerConfig, ContainerMetadata, PodSandboxConfig, PodSandboxMetadata


@dataclass(frozen=True)
class Ran:
    """The exit status and the output of a command."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class CommandLine:
    """Runs commands against a daemon."""

    served: Served
    loop: asyncio.AbstractEventLoop
    directory: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *words: str, stdin: str = "") -> Ran:
        """Run a command to its end."""
        self.capture.readouterr()
        before = _logging_state()
        ran = CliRunner().invoke(main, ["--config", str(self.directory / "config.yaml"), *words], input=stdin)
        _restore_logging(before)
        if ran.exception is not None and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        captured = self.capture.readouterr()
        return Ran(ran.exit_code, captured.out + ran.stdout, captured.err + ran.stderr)

    def pod(self, name: str, **config: object) -> str:
        """Make a pod; return its id."""
        metadata = PodSandboxMetadata(name, f"uid-{name}", "default")
        settings = replace(PodSandboxConfig(metadata, labels={"app": name}, runtime_handler="small"), **config)
        return self.call(self.served.runtime.run_pod_sandbox(settings))

    def container(self, pod: str, name: str = "main", *, start: bool = True, **config: object) -> str:
        """Make a container in a pod, and start it; return its id."""
        self.served.images.held.setdefault(IMAGE.id, IMAGE)
        settings = replace(ContainerConfig(ContainerMetadata(name), IMAGE.id), **config)
        container = self.call(self.served.runtime.create_container(pod, settings))
        if start:
            self.call(self.served.runtime.start_container(container))
        return container

    def call(self, work):
        """Run a coroutine in the daemon's loop; return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


@contextlib.contextmanager
def command_line(directory: Path, capture: pytest.CaptureFixture[str], **settings: object) -> Iterator[CommandLine]:
    """Serve, and run commands whose configuration names the socket."""
    ready: concurrent.futures.Future[tuple[Served, asyncio.AbstractEventLoop]] = concurrent.futures.Future()
    ended = asyncio.Event()

    async def serve() -> None:
        async with served(directory) as it:
            ready.set_result((it, asyncio.get_running_loop()))
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    it, loop = ready.result(30)
    config = {"socket": str(it.path), "state_directory": str(directory / "state"), "run_directory": str(directory)}
    (directory / "config.yaml").write_text(yaml.safe_dump({**config, **settings}))
    try:
        yield CommandLine(it, loop, directory, capture)
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(30)


def _logging_state():
    logger = logging.getLogger("vmsandbox")
    return list(logger.handlers), logger.level, logger.propagate


def _restore_logging(state) -> None:
    """Commands set up logging for their process; here it is that of all tests."""
    logger = logging.getLogger("vmsandbox")
    logger.handlers[:], logger.propagate = state[0], state[2]
    logger.setLevel(state[1])
