"""`vmsandbox serve` that can be killed and started again while its pods run: their machines are a libvirtd's."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.standins.registry import registries_conf, running_stand_ins
from tests.support import conformance
from tests.support.accelerators import keep_findings, share_findings
from tests.support.conformance_client import Container, Cri, Pod, eventually
from tests.support.libvirt import OwnLibvirtd


class Node:
    """A daemon that can be killed, and started again on what it left."""

    def __init__(self, directory: Path, under: Sequence[str] = ()) -> None:
        self.directory = directory
        self.under = under
        self.process: subprocess.Popen[bytes] | None = None
        self.stack = contextlib.ExitStack()
        self.cri: Cri
        self._settings: dict[str, Any] = {}

    def start(self) -> None:
        command = [
            *self.under,
            sys.executable,
            "-m",
            "vmsandbox",
            "--config",
            str(self.directory / "config.yaml"),
            "serve",
        ]
        with (self.directory / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.cri = self.stack.enter_context(Cri.connect(self.directory / "cri.sock", self.directory / "logs"))
        conformance._wait_ready(self.cri, self.process, self.directory)

    def configure(self, **settings: Any) -> None:
        """Have the next daemon run with these settings, too."""
        self._settings |= settings
        (self.directory / "config.yaml").write_text(yaml.safe_dump(self._settings))

    @property
    def database(self) -> Path:
        """The state database of the daemon."""
        return self.directory / "state/serve/state.db"

    def end(self, number: int) -> None:
        assert self.process is not None
        self.stack.close()
        self.process.send_signal(number)
        self.process.wait(60)
        self.process = None

    def close(self) -> None:
        """Remove every pod, and the machines that wait for one; then end the daemon, which may not run just now."""
        if self.process is None:
            self.start()
        assert self.process is not None
        try:
            self.cri.remove_everything()
            conformance.end_pools(self.directory, self.process)
        finally:
            self.end(signal.SIGTERM)

    def restart(self, number: int = signal.SIGKILL) -> None:
        self.end(number)
        self.start()

    def sandboxes(self) -> set[Path]:
        """The directories of sandboxes that have something on this host."""
        return {path for path in (self.directory / "run").rglob("sandboxes/*") if path.is_dir()}


def again(node: Node, container: Container) -> Container:
    """A container, by the connection of now."""
    return Container(Pod(node.cri, container.pod.id, container.pod.config), container.id, container.config)


@contextlib.contextmanager
def shared_mount(directory: Path) -> Iterator[None]:
    """Make a shared mount, like /run on a host with systemd, so that libvirtd sees the daemon's mounts."""
    subprocess.run(["mount", "--bind", directory, directory], check=True)
    try:
        subprocess.run(["mount", "--make-shared", directory], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


@contextlib.contextmanager
def restartable_node(under: Sequence[str] = (), **settings: Any) -> Iterator[Node]:
    """A node with a libvirtd of its own, whose daemon runs with these settings; every pod is removed in the end.

    `under` is a command that runs the daemon's, which is appended to it.
    """
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(conformance._private_directory())
        stack.enter_context(shared_mount(directory))
        (directory / "registry").mkdir()
        (directory / "libvirtd").mkdir()
        share_findings(directory / "state")
        registry = stack.enter_context(running_stand_ins(directory / "registry"))
        (directory / "registries.conf").write_text(registries_conf(registry))
        libvirtd = OwnLibvirtd(directory / "libvirtd")
        stack.callback(libvirtd.stop)
        libvirtd.start()
        node = Node(directory, under)
        node.configure(**{**conformance.configuration(directory), "libvirt": libvirtd.uri, **settings})
        stack.callback(subprocess.run, ["ip", "link", "delete", conformance.BRIDGE], check=False)
        eventually((directory / "libvirtd/run/libvirt-sock").exists)
        stack.callback(node.close)
        node.start()
        keep_findings(directory / "state")
        yield node
