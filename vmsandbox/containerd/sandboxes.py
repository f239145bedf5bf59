"""The sandboxes: pods, each with a machine that the daemon makes and ends when containerd says so.

What is kept of one is a directory with a file (`oci_command.store`), and the files that its containers share.
"""

import asyncio
import base64
import time
from pathlib import Path
from typing import Any

from cri_api.v1 import api_pb2

from vmsandbox import aio, log
from vmsandbox.containerd.daemon import Daemon
from vmsandbox.containerd.events import Containerd
from vmsandbox.containerd.kept import claim, every_entry
from vmsandbox.containerd.leftovers import Leftovers
from vmsandbox.containerd.messages import message
from vmsandbox.containerd.roots import mount_root, unmount_root
from vmsandbox.containerd.specs import pod_config, pod_files
from vmsandbox.errors import NotFound, Unavailable
from vmsandbox.oci_command.store import Entry

_log = log.get(__name__)

_PAUSE = 0.5
"""Seconds between two attempts to reach a daemon that is being restarted."""
_SHM = "/dev/shm"
_FILES = "files"
_LIMITED = message(
    "containerd.types.Mount",
    type="tmpfs",
    source="vmsandbox",
    options=["size=1m", "mode=0755", "nosuid", "nodev", "noexec"],
)
"""The file system of a pod's files: containers may write them, and no more than that."""


class Sandbox:
    """A pod; `entry` is what is kept of it."""

    def __init__(self, entry: Entry, daemon: Daemon, root: str) -> None:
        """Name it; `root` tells pods of one namespace from those of others."""
        self.entry = entry
        self.root = root
        self.ended = asyncio.Event()
        self.is_discarded = False
        """Whether to forget it, whatever containerd knows."""
        self._daemon = daemon
        self._waiting: asyncio.Task[None] | None = None
        if self.ended_at:
            self.ended.set()

    @property
    def network(self) -> str:
        """The path of its network namespace."""
        return str(self.entry.values["network"])

    @property
    def created_at(self) -> int:
        """Nanoseconds since 1970; 0: its machine does not run yet."""
        return int(self.entry.values.get("created_at", 0))

    @property
    def ended_at(self) -> int:
        """Nanoseconds since 1970; 0: its machine has not ended."""
        return int(self.entry.values.get("ended_at", 0))

    @property
    def files(self) -> dict[str, str]:
        """The files of its containers: the paths on the host by those in the containers."""
        names = {each: str(self._directory / Path(each).name) for each in pod_files(self._config)}
        return {**names, _SHM: _SHM}  # the machine's own

    @property
    def _directory(self) -> Path:
        return Path(self.entry.directory) / _FILES

    @property
    def _config(self) -> api_pb2.PodSandboxConfig:
        return api_pb2.PodSandboxConfig.FromString(base64.b64decode(self.entry.values["config"]))

    async def start(self) -> None:
        """Make its machine. Raises as the daemon."""
        await mount_root([_LIMITED], self._directory)
        for destination, content in pod_files(self._config).items():
            path = self._directory / Path(destination).name
            path.write_text(content)
            path.chmod(0o644)
        await self._call("create_pod", config=pod_config(self._config, self.network))
        self.entry.save(created_at=time.time_ns())
        self.watch()

    def watch(self) -> None:
        """Learn of the end of its machine."""
        if self.created_at and not self.ended_at:
            self._waiting = asyncio.create_task(self._wait(), name="the end of a machine")
            self._waiting.add_done_callback(aio.report)

    async def stop(self) -> None:
        """End its machine. Succeeds where it has ended. Raises as the daemon."""
        await self._call("stop_pod")
        self._have_ended()

    async def remove(self) -> None:
        """Forget it. Raises as the daemon."""
        await self._call("delete_pod")
        self._have_ended()
        await self.close()
        for destination in pod_files(self._config):
            (self._directory / Path(destination).name).unlink(missing_ok=True)
        await unmount_root(self._directory)
        self.entry.remove()

    async def close(self) -> None:
        """Let go of it; its machine goes on."""
        if self._waiting is not None:
            await aio.cancel(self._waiting)

    async def _wait(self) -> None:
        while not self.ended_at:
            try:
                await self._call("wait_pod")
            except Unavailable:
                await asyncio.sleep(_PAUSE)
                continue
            except NotFound:  # The daemon does not know it any more.
                pass
            self._have_ended()

    def _have_ended(self) -> None:
        if not self.ended_at:
            self.entry.save(ended_at=time.time_ns())
        self.ended.set()

    async def _call(self, name: str, **arguments: Any) -> None:
        await self._daemon.call(name, id=self.entry.id, root=self.root, **arguments)


class Sandboxes:
    """The sandboxes of all namespaces of containerd."""

    def __init__(self, directory: Path, daemon: Daemon, containerd: Containerd) -> None:
        """Know none yet; see `Tasks`."""
        self._directory = directory
        self._daemon = daemon
        self._containerd = containerd
        self._sandboxes: dict[tuple[str, str], Sandbox] = {}
        self.leftovers = Leftovers("sandbox", self._end_unknown)
        """Sandboxes of an earlier process, until containerd has said that it knows them, and discarded ones."""

    def find(self, namespace: str, sandbox: str) -> Sandbox:
        """Return a sandbox. Raises NotFound."""
        try:
            return self._sandboxes[namespace, sandbox]
        except KeyError:
            raise NotFound(f"there is no sandbox {sandbox}") from None

    def create(self, namespace: str, request: Any) -> Sandbox:
        """Know a sandbox, whose machine is made by `Sandbox.start`. Raises as `claim`."""
        entry = claim(self._directory, namespace, request.sandbox_id)
        config = base64.b64encode(request.options.value).decode()
        entry.save(id=entry.id, container="", network=request.netns_path, config=config)
        return self._know(namespace, entry)

    async def remove(self, namespace: str, sandbox: str) -> None:
        """Forget a sandbox, whose machine ends. Raises NotFound, as the daemon."""
        await self.find(namespace, sandbox).remove()
        self._sandboxes.pop((namespace, sandbox), None)

    async def discard(self, namespace: str, sandbox: str) -> None:
        """Forget a sandbox whose machine could not be made; what fails is tried again."""
        self.find(namespace, sandbox).is_discarded = True
        await aio.to_its_end(self.leftovers.attempt(namespace, sandbox))

    def take_back(self) -> None:
        """Know the sandboxes of an earlier process."""
        for namespace, entry in every_entry(self._directory):
            self._know(namespace, entry).watch()
            self.leftovers.add(namespace, entry.id)

    async def close(self) -> None:
        """Let go of all; their machines go on."""
        await aio.together(*(each.close() for each in self._sandboxes.values()))

    async def _end_unknown(self, namespace: str, sandbox: str) -> None:
        if (found := self._sandboxes.get((namespace, sandbox))) is None:
            return
        if not found.is_discarded:
            if await self._containerd.knows_sandbox(namespace, sandbox):
                return
            _log.warning("containerd does not know the sandbox %s any more: its machine is ended", sandbox)
        await found.remove()
        self._sandboxes.pop((namespace, sandbox), None)

    def _know(self, namespace: str, entry: Entry) -> Sandbox:
        sandbox = Sandbox(entry, self._daemon, str(self._directory / namespace))
        self._sandboxes[namespace, entry.id] = sandbox
        return sandbox
