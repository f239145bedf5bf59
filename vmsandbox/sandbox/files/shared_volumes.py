"""The volumes below one sandbox's share: each directory or file of the host is there once, whoever of the pod uses it.

virtiofsd tells files apart by file system, inode and *mount*: two bind mounts of one directory would be two directories
in the guest, with locks, sockets, FIFOs and cached pages of their own. So a source is mounted once, at a place with a
name of its own, and whatever lies below it is used from there. A source that comes later and holds others is mounted,
and their mounts are *moved* to where they belong in it. A mount that is moved keeps its id, and so the guest meets the
inodes that it has.

What is mounted is asked of virtiofsd's kernel (its mountinfo), who uses it is noted in files (`share_uses`): a daemon
that is killed at any moment leaves nothing that the next one has to repair.

The mounts are made in virtiofsd's mount namespace. So the host does not see them, and may remove what is mounted
(rmdir(2) gives EBUSY for a mount point of one's own namespace alone); a place that is removed takes its mounts with it,
and all end with the machine.
"""

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from vmsandbox import log
from vmsandbox.errors import FailedPrecondition, Unavailable
from vmsandbox.sandbox.files import mount_calls as calls
from vmsandbox.sandbox.files import mountinfo, mounts
from vmsandbox.sandbox.files.host_volume import HostVolume
from vmsandbox.sandbox.files.mountinfo import MountPoint
from vmsandbox.sandbox.files.mounts import MountAccess
from vmsandbox.sandbox.files.origins import belonging_below, places_of, root_of
from vmsandbox.sandbox.files.share_server import ShareServer, server_of
from vmsandbox.sandbox.files.share_uses import ShareUses
from vmsandbox.sandbox.spec import SandboxLayout

_log = log.get(__name__)

_PATIENCE = 10.0
"""Seconds that a call waits for one that hangs on a volume of the same pod."""

_MOST_WRITABLE = 64
"""Mounts below a read-only volume that stay writable: each is a mount more in the guest."""


@dataclass(frozen=True, slots=True)
class Served:
    """Where the guest finds a volume."""

    place: Path
    """Below the share."""
    readonly: bool
    """Whether the guest has to see to that: others of the pod may write there."""
    writable: tuple[PurePosixPath, ...]
    """Paths of mounts below it that stay writable although it is read-only."""


class SharedVolumes:
    """The calls of one sandbox, one at a time; they look at volumes, whose file systems may hang."""

    def __init__(self, layout: SandboxLayout) -> None:
        """Begin with the mounts of an earlier process, if any."""
        self._layout = layout
        self._uses = ShareUses(layout.uses)
        self._lock = threading.Lock()

    def serve(
        self, container: str, volume: HostVolume, access: MountAccess, mapping: str = "", *, deep: bool = True
    ) -> Served:
        """Have a volume below the share for a container, with at least the rights of `access`.

        Args:
            container: its id; `release` takes back what it uses, also where this fails.
            volume: stays the caller's.
            access: what the container may do.
            mapping: names the mapping of owners in `access`; volumes whose owners are mapped differently share nothing.
            deep: whether a place below another volume's will do.

        Raises:
            FailedPrecondition: the kernel refuses; or the machine has no virtiofsd, or one of an older version.
            Unavailable: another call hangs.
        """
        try:
            with self._alone(), server_of(self._layout.share, self._layout.served) as server:
                work = _Serving(self._layout, self._uses, server, volume, access)
                place = self._serve(container, work, mapping, deep=deep)
        except OSError as error:
            raise FailedPrecondition(f"the volume {volume.path} cannot be shared: {error}") from None
        return Served(place.relative_to("/"), access.readonly or volume.mount.readonly, _writable(volume, access))

    def release(self, container: str) -> None:
        """Take back what a container uses and nobody else. Succeeds where it uses nothing; may be repeated.

        Raises:
            FailedPrecondition: a mount stays.
            Unavailable: another call hangs.
        """
        with self._alone():
            for name in self._uses.of(container):
                if self._uses.users(name) == {container}:
                    _remove(self._layout, name)
                self._uses.remove(name, container)

    def _serve(self, container: str, work: "_Serving", mapping: str, *, deep: bool) -> Path:
        place = work.find(mapping, deep=deep)
        if place is None:
            place = work.bind(container, mapping)
        else:
            self._uses.add(place.parts[1], container)
            if self._uses.users(place.parts[1]) == {container} and work.stands_alone(place):
                work.mount_at(place)
            work.complete(place)
        work.gather(place, mapping)
        work.allow(place)
        return place

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=_PATIENCE):
            raise Unavailable(
                f"the volumes of {self._layout.share} wait for one whose file system does not answer",
                hint="repair that file system, or abort its mount (umount -f)",
            )
        try:
            yield
        finally:
            self._lock.release()


def _remove(layout: SandboxLayout, name: str) -> None:
    """Remove a place; what is mounted there goes with it."""
    mounts.unmount_below(layout.served / name)
    place = layout.share / name
    try:
        place.rmdir()
    except NotADirectoryError:
        place.unlink()
    except FileNotFoundError:
        return


def _writable(volume: HostVolume, access: MountAccess) -> tuple[PurePosixPath, ...]:
    found: list[PurePosixPath] = []
    if not access.recursive and (access.readonly or volume.mount.readonly):
        for place, mount in ((volume.place(each), each) for each in volume.nested):
            if not mount.readonly and not any(place.is_relative_to(other) for other in found):
                found.append(place)
    return tuple(found[:_MOST_WRITABLE])


class _Serving:
    """The steps of one call of `SharedVolumes.serve`."""

    def __init__(
        self, layout: SandboxLayout, uses: ShareUses, server: ShareServer, volume: HostVolume, access: MountAccess
    ) -> None:
        self._layout = layout
        self._uses = uses
        self._server = server
        self._volume = volume
        self._access = access

    def find(self, mapping: str, *, deep: bool) -> Path | None:
        """Where the volume is already."""
        origin, ours = self._volume.origin, self._ours(mapping)
        ids = {each.id for each in ours}
        for place in places_of(origin, ours) if origin else ():
            if deep or len(place.parts) == 2:
                with contextlib.suppress(OSError):
                    fd = self._server.open(place)
                    if os.path.samestat(os.fstat(fd), self._volume.status) and mountinfo.mount_id(fd) in ids:
                        return place
        return None

    def bind(self, container: str, mapping: str) -> Path:
        """Mount the volume at a place of its own. The name is a new one: the guest may remember old ones."""
        tree, name = self._volume.tree, "-".join(filter(None, (secrets.token_hex(4), mapping)))
        self._uses.add(name, container)
        mounts.make_place(self._layout.share / name, tree)
        place = Path("/", name)
        self.mount_at(place)
        return place

    def mount_at(self, place: Path) -> None:
        """Mount the volume at a place."""
        tree = self._volume.tree
        mounts.restrict(tree, self._access)
        self._move(tree.fd, self._server.open(place), tree.source)

    def stands_alone(self, place: Path) -> bool:
        """Whether the place is a part of a volume that is read-only on the host, and is to be written itself.

        A container that has both, and nobody else, has looked at nothing yet: a mount of its own for the part leaves
        the rest read-only, and is one directory all the same.
        """
        own, *_ = self._inside(place)
        return own.readonly and own.path != place and not (self._access.readonly or self._volume.mount.readonly)

    def complete(self, place: Path) -> None:
        """Mount what the host has mounted below the volume since it was bound."""
        inside = {(each.path, each.device, each.root) for each in self._inside(place)}
        for nested in self._volume.nested:
            target = place / self._volume.place(nested)
            if (target, nested.device, nested.root) not in inside:
                try:
                    self._mount(nested, self._server.open(target))
                except (OSError, FailedPrecondition) as error:
                    _log.warning("%s is not visible in the pod: %s", nested.path, error)

    def gather(self, place: Path, mapping: str) -> None:
        """Move what was bound for itself, and is part of the volume, to its place in it."""
        name = place.parts[1]
        tops = [each for each in self._ours(mapping) if len(each.path.parts) == 2 and each.path.name != name]
        for top, inner in belonging_below(self._volume.origins, tops):
            root = self._server.open(top.path)
            if mountinfo.mount_id(root) != top.id:
                continue
            for path in inner:
                with contextlib.suppress(OSError):
                    target = self._server.open(place / path)
                    if os.path.samestat(os.fstat(target), os.fstat(root)):
                        self._take_over(top.path.name, name, root, target)
                        break

    def allow(self, place: Path) -> None:
        """Have what is mounted at and below the place be writable, and follow the host, where the access wants it."""
        for mount, host, is_nested in self._pairs(place):
            readonly = host.readonly or (self._access.readonly and (self._access.recursive or not is_nested))
            frees = mount.readonly and not readonly
            follows = self._access.follows and host.propagates and not mount.propagates
            if frees or follows:
                with contextlib.suppress(OSError):
                    root = self._server.open(mount.path)
                    if mountinfo.mount_id(root) == mount.id:
                        self._change(root, host, frees=frees, follows=follows)

    def _ours(self, mapping: str) -> list[MountPoint]:
        """The mounts at and below places of ours; an older version's places are its containers' own."""
        names = {name for name in self._uses.names() if name.partition("-")[2] == mapping}
        return [each for each in self._server.mounts() if len(each.path.parts) > 1 and each.path.parts[1] in names]

    def _inside(self, place: Path) -> list[MountPoint]:
        """The mount that the place is on, and those below the place."""
        table, at = self._server.mounts(), mountinfo.mount_id(self._server.open(place))
        own = next(each for each in table if each.id == at)
        return [own, *mountinfo.carried(table, own, place)]

    def _pairs(self, place: Path) -> Iterator[tuple[MountPoint, MountPoint, bool]]:
        """The mounts of the place, each with the host's that shows the same, and whether that is below the volume."""
        own, *below = self._inside(place)
        yield own, self._volume.mount, False
        hosts = self._volume.mounts
        for mount in below:
            path, shown = PurePosixPath(mount.path.relative_to(place)), root_of(mount)
            matching = [
                at
                for at, origin in self._volume.origins
                if path.is_relative_to(at) and replace(origin, path=origin.path / path.relative_to(at)) == shown
            ]
            if matching:
                at = max(matching, key=lambda each: len(each.parts))
                yield mount, hosts[at], bool(at.parts)

    def _mount(self, nested: MountPoint, target: int) -> None:
        copy = self._server.keep(calls.copy_of(nested.path, recursive=False))
        readonly = self._access.readonly and self._access.recursive
        mounts.restrict(
            mounts.MountTree(copy, nested.path, is_directory=True), replace(self._access, readonly=readonly)
        )
        self._move(copy, target, nested.path)

    def _take_over(self, top: str, name: str, root: int, target: int) -> None:
        """Move what is mounted at the place `top` into that of `name`; its users are users of that, too."""
        users = self._uses.users(top)
        self._uses.add(name, *users)
        self._move(root, target, self._volume.path)
        _remove(self._layout, top)
        self._uses.remove(top, *users)

    def _change(self, root: int, host: MountPoint, *, frees: bool, follows: bool) -> None:
        if frees:
            self._server.within(
                lambda: calls.set_attributes(root, host.path, 0, recursive=False, without=calls.READONLY)
            )
        if follows:
            other = self._server.keep(calls.copy_of(host.path, recursive=False))
            calls.set_attributes(other, host.path, 0, calls.SLAVE, recursive=False)
            try:
                calls.follow(root, other, str(host.path))
            except FailedPrecondition as error:
                _log.warning("%s", error)

    def _move(self, mount: int, target: int, source: Path) -> None:
        what = f"{source} in the share of {self._layout.share}"
        self._server.within(lambda: calls.move(mount, target, what))
