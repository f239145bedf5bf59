"""`vmsandbox serve` with everything it needs in directories of its own, for tests over the CRI socket.

Its libvirt is embedded and its bridge, subnets, images and state are private, so that tests and a daemon of the node
do not meet. All that is started here ends with the context, by process id.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml

from tests.standins.registry import registries_conf, running_stand_ins
from tests.support import own
from tests.support.accelerators import keep_findings, share_findings
from tests.support.conformance_client import Cri
from tests.support.registry import Registry
from tests.support.waiting import eventually

START_DEADLINE = 120.0
"""Seconds until the daemon answers; the first start may probe what the host can do."""
STOP_DEADLINE = 60.0
BRIDGE = f"vmsconf{own.NUMBER}"
TEMPLATE = os.environ.get("VMSANDBOX_TEMPLATE", "off")
"""Whether the machines of tests go on from a template (`auto`), or boot (`off`), as `machine.template` has it."""

HANDLERS: Mapping[str, Mapping[str, Any]] = {"small": {"memory": "64Mi"}, "debugged": {"debug": True}}
"""Beside the default: the smallest machine that a test's pod runs in, and one whose guest takes commands in itself."""


@dataclass(frozen=True)
class Serving:
    """A daemon that runs."""

    directory: Path
    registry: Registry
    process: subprocess.Popen[bytes]
    cri: Cri

    def command_line(self, *arguments: str) -> list[str]:
        """Our own command line, with this daemon's configuration."""
        return [sys.executable, "-m", "vmsandbox", "--config", str(self.directory / "config.yaml"), *arguments]

    @property
    def has_template(self) -> bool:
        """Whether a template is there, and none is being made."""
        templates = self.directory / "state/serve/templates"
        return any(templates.glob("*/template.json")) and not any(templates.glob("making-*"))

    def log(self) -> str:
        """Return the log of the daemon so far."""
        return (self.directory / "serve.log").read_text()


@contextlib.contextmanager
def serving(settings: Mapping[str, Any] | None = None, under: Sequence[str] = ()) -> Iterator[Serving]:
    """Run the daemon, with `settings` over those of `configuration`; every pod is removed in the end.

    `under` is a command that runs the daemon's, which is appended to it.
    """
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(_private_directory())
        (directory / "registry").mkdir()
        share_findings(directory / "state")
        registry = stack.enter_context(running_stand_ins(directory / "registry"))
        (directory / "registries.conf").write_text(registries_conf(registry))
        (directory / "config.yaml").write_text(yaml.safe_dump({**configuration(directory), **(settings or {})}))
        stack.callback(_delete_bridge)
        process = stack.enter_context(_daemon(directory, under))
        cri = stack.enter_context(Cri.connect(directory / "cri.sock", directory / "logs"))
        _wait_ready(cri, process, directory)
        keep_findings(directory / "state")
        stack.callback(end_pools, directory, process)
        stack.callback(cri.remove_everything)
        yield Serving(directory, registry, process, cri)


def configuration(directory: Path) -> dict[str, Any]:
    """config.yaml of a daemon whose files are all below `directory`."""
    return {
        "state_directory": str(directory / "state"),
        "run_directory": str(directory / "run"),
        "socket": str(directory / "cri.sock"),
        "libvirt": f"qemu:///embed?root={directory}/libvirt",
        "machine": {"memory": "192Mi", "boot_deadline": 180, "template": TEMPLATE},
        "handlers": {name: dict(handler) for name, handler in HANDLERS.items()},
        "users": own.users(part=2),
        "images": {"registries_conf": str(directory / "registries.conf")},
        "network": {
            "config_directory": str(directory / "cni"),
            "default": {
                "bridge": BRIDGE,
                "subnet_v4": f"10.198.{own.NUMBER}.0/24",
                "subnet_v6": f"fd76:6d73:636f:{own.NUMBER:x}::/64",
            },
        },
    }


@contextlib.contextmanager
def _private_directory() -> Iterator[Path]:
    """A directory with a short name, for Unix sockets, that QEMU's user may enter."""
    directory = Path(tempfile.mkdtemp(prefix="vms-", dir="/run"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextlib.contextmanager
def _daemon(directory: Path, under: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon under tini, which adopts what an embedded libvirt leaves behind."""
    program = [sys.executable, "-m", "vmsandbox", "--config", str(directory / "config.yaml")]
    command = [*under, "tini", "-s", "--", *program]
    with (directory / "serve.log").open("wb") as log:
        process = subprocess.Popen([*command, "serve"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError("vmsandbox serve does not end when it is asked to") from None


def _wait_ready(cri: Cri, process: subprocess.Popen[bytes], directory: Path) -> None:
    ready = grpc.channel_ready_future(cri.channel)
    waited = 0.0
    while process.poll() is None and waited < START_DEADLINE:
        with contextlib.suppress(grpc.FutureTimeoutError):
            ready.result(timeout=1)
            return
        waited += 1
    ready.cancel()
    raise AssertionError(f"vmsandbox serve does not answer:\n{(directory / 'serve.log').read_text()}")


def end_pools(directory: Path, process: subprocess.Popen[bytes]) -> None:
    """End the machines that wait, which would outlive the daemon."""
    file = directory / "config.yaml"
    settings = yaml.safe_load(file.read_text())
    pools = [each.pop("pool") for each in (settings["machine"], *settings["handlers"].values()) if "pool" in each]
    if pools:
        file.write_text(yaml.safe_dump(settings))
        process.send_signal(signal.SIGHUP)
        eventually(lambda: not any((directory / "run/serve/sandboxes").iterdir()), START_DEADLINE)


def _delete_bridge() -> None:
    """The bridge plugin leaves its bridge, as on every host with CNI."""
    subprocess.run(["ip", "link", "delete", BRIDGE], check=False, capture_output=True)
