"""Volumes of the kubelet's atomic writer, kept in the guest's memory as they are on the host.

The host watches each (inotify); when the kubelet has replaced its version, the agent gets the new one and puts it in
place by the kubelet's own steps, so that a container's watches (inotify) tell of it. A guest keeps a bounded amount so;
what is beyond that is shared with it as other volumes are: its content changes, but no container is told.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vmsandbox import aio, log
from vmsandbox.errors import NotFound, Unimplemented, VmsandboxError
from vmsandbox.fs.foreign import ForeignPaths
from vmsandbox.fs.watching import Watch, Watcher
from vmsandbox.guest import GuestClient
from vmsandbox.model import Mount
from vmsandbox.protocol import paths
from vmsandbox.protocol.messages import WriteVolume
from vmsandbox.sandbox.files.atomic_volumes import DATA, LARGEST, TooLarge, Version, is_candidate, read_version

_log = log.get(__name__)

MOST = 32
"""Such volumes of a sandbox."""

ALL = 8 * 1024 * 1024
"""Bytes of the guest's memory that they take together."""

_ROOM = 2
"""A volume begins with half of what it may have, and all with half of `ALL`: a later version may be larger."""

_AGAIN, _SELDOM = 5.0, 320.0
"""Seconds until a version is sent again that a guest did not take: at first, and at most, twice as long each time."""


@dataclass(slots=True)
class _Volume:
    name: str
    watch: Watch
    version: str = ""
    weight: int = 0
    pause: float = _AGAIN


class SyncedVolumes:
    """The synced volumes of one sandbox. `close` ends its tasks; the volumes end with the machine."""

    def __init__(self, sandbox_id: str, client: GuestClient, foreign: ForeignPaths, watcher: Watcher) -> None:
        """None yet. All stay the caller's."""
        self._sandbox_id = sandbox_id
        self._client = client
        self._foreign = foreign
        self._watcher = watcher
        self._volumes: dict[Path, _Volume] = {}
        self._lock = asyncio.Lock()
        self._changed: dict[Path, None] = {}
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def offer(self, mount: Mount) -> str:
        """Where in the guest a mount's volume is kept; empty where it has to be shared.

        Raises:
            DeadlineExceeded: the volume's file system does not answer.
            VmsandboxError: the guest refuses.
        """
        if not is_candidate(mount):
            return ""
        path = Path(mount.host_path)
        async with self._lock:
            if path not in self._volumes and not await self._add(path, make=True):
                return ""
            return f"{paths.TMPFS}/{self._volumes[path].name}"

    async def take_back(self, mounts: Iterable[Mount]) -> None:
        """Go on with those among the volumes that the guest keeps, after a restart of this process.

        What has changed meanwhile is sent; what goes wrong is logged.
        """
        for path in dict.fromkeys(Path(mount.host_path) for mount in mounts if is_candidate(mount)):
            async with self._lock:
                try:
                    if path not in self._volumes:
                        await self._add(path, make=False)
                except VmsandboxError as error:
                    self._decline(path, str(error))

    async def close(self) -> None:
        """End the watching. Can be repeated."""
        task, self._task = self._task, None
        if task is not None:
            await aio.cancel(task)
        volumes, self._volumes = self._volumes, {}
        for volume in volumes.values():
            self._watcher.end(volume.watch)

    async def _add(self, path: Path, *, make: bool) -> bool:
        """Watch a volume and have the guest keep it; whether it does."""
        if len(self._volumes) >= MOST:
            self._decline(path, f"the pod has more than {MOST} of them")
            return False
        try:
            watch = await self._watcher.watch(path, partial(self._on_renamed, path), self._foreign)
        except (OSError, VmsandboxError) as error:
            self._decline(path, str(error))
            return False
        volume = _Volume(_name_of(path), watch)
        kept = False
        try:
            kept = await self._begin(path, volume, make=make)
        finally:
            if not kept:
                self._watcher.end(watch)
        return kept

    async def _begin(self, path: Path, volume: _Volume, *, make: bool) -> bool:
        try:
            version = await self._read(path)
        except (OSError, TooLarge) as error:
            self._decline(path, str(error) or "it is too large")
            return False
        share = _ROOM if make else 1
        if version is None:
            return False
        if not self._fits(volume, version, share):
            self._decline(path, f"it takes {version.weight} bytes of the guest's memory")
            return False
        try:
            await self._send(volume, version, make=make)
        except (NotFound, Unimplemented):
            return False  # It was shared, or the agent is of an earlier version.
        self._volumes[path] = volume
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"volumes of {self._sandbox_id}")
            self._task.add_done_callback(aio.report)
        return True

    def _on_renamed(self, path: Path, name: str) -> None:
        if name in (DATA, ""):
            self._changed[path] = None
            self._news.set()

    async def _run(self) -> None:
        """Send what has changed, one volume after the other; changes that come meanwhile count once."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._changed:
                path = next(iter(self._changed))
                del self._changed[path]
                async with self._lock:
                    await self._sync(path)

    async def _sync(self, path: Path) -> None:
        volume = self._volumes.get(path)
        if volume is None:
            return
        try:
            version = await self._read(path)
            if version is None or version.name == volume.version:
                return
            if not self._fits(volume, version, 1):
                raise TooLarge
            await self._send(volume, version, make=False)
        except FileNotFoundError:
            return  # It was replaced while it was read, of which the watch tells, or is gone.
        except (OSError, TooLarge) as error:
            _log.warning(
                "sandbox %s: the guest keeps an old version of %s: %s",
                self._sandbox_id, path, str(error) or "the new one is too large",
            )  # fmt: skip
        except VmsandboxError as error:
            _log.info("sandbox %s: a new version of %s is sent again: %s", self._sandbox_id, path, error)
            asyncio.get_running_loop().call_later(volume.pause, self._on_renamed, path, DATA)
            volume.pause = min(2 * volume.pause, _SELDOM)

    async def _read(self, path: Path) -> Version | None:
        """Read a version; read once more if it was replaced while it was read."""
        with contextlib.suppress(FileNotFoundError):
            return await self._foreign.call(path, partial(read_version, path))
        return await self._foreign.call(path, partial(read_version, path))

    async def _send(self, volume: _Volume, version: Version, *, make: bool) -> None:
        await self._client.write_volume(
            WriteVolume(
                volume.name,
                version.name,
                version.entries,
                make=make,
                size=2 * LARGEST,
                mode=version.mode,
                gid=version.gid,
            )
        )
        volume.version, volume.weight, volume.pause = version.name, version.weight, _AGAIN

    def _fits(self, volume: _Volume, version: Version, share: int) -> bool:
        others = sum(each.weight for each in self._volumes.values() if each is not volume)
        return version.weight <= LARGEST // share and others + version.weight <= ALL // share

    def _decline(self, path: Path, reason: str) -> None:
        _log.info("sandbox %s: containers are not told of changes of %s: %s", self._sandbox_id, path, reason)


def _name_of(path: Path) -> str:
    """The same after a restart of this process."""
    return f"synced.{hashlib.sha256(bytes(path)).hexdigest()[:32]}"
