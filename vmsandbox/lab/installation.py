"""`lab up` and `lab down`: a version of the checkout on a host, in a directory of its own."""

import contextlib
import secrets
import time
from dataclasses import dataclass

from vmsandbox.errors import FailedPrecondition, VmsandboxError
from vmsandbox.lab.checkout import Checkout
from vmsandbox.lab.fleet import HostContext
from vmsandbox.lab.host import Command, LabHost
from vmsandbox.lab.text import LastLine, plain

_TOLD_EACH = 10.0
"""Seconds between two lines of progress."""
_BUSY = 75
"""The status by which flock(1) says that somebody else holds the lock."""


@dataclass(frozen=True, slots=True)
class Installed:
    """The version that a host runs."""

    version: str
    ready: bool
    """Whether the setup command has succeeded."""


def version_directory(host: LabHost, version: str) -> str:
    """Where a version is on a host."""
    return f"{host.directory}/versions/{version}"


def program_of(host: LabHost) -> str:
    """The command `vmsandbox` of the version that a host runs."""
    return f"{host.directory}/current/.venv/bin/vmsandbox"


def installed(context: HostContext) -> Installed | None:
    """The installation on a host."""
    return _parsed(_step(context, "state", what="the installation cannot be read"))


def _parsed(line: str) -> Installed | None:
    version, _, state = line.strip().partition(" ")
    return Installed(plain(version), state == "ready") if version else None


def require(context: HostContext) -> Installed:
    """The installation on a host.

    Raises:
        FailedPrecondition: nothing is, or it is not ready.
    """
    found = installed(context)
    if found is None or not found.ready:
        raise FailedPrecondition("vmsandbox is not installed there", hint="`vmsandbox lab up`")
    return found


def install(context: HostContext, checkout: Checkout) -> str:
    """Bring the host to the checkout's version: unpack it, run its setup command, make it the current version.

    What has been done before is not done again, except the setup command, which does nothing quickly. Returns how
    it went.

    Raises:
        FailedPrecondition: a step failed. What it leaves is used, or removed, by the next call.
        Unavailable: the host was lost.
    """
    before = _unpack(context, checkout)
    _set_up(context, checkout.version)
    _step(context, "finish", checkout.version, what="the version could not be made the current one")
    if before and before.version == checkout.version:
        return f"{checkout.version} was installed; set up again"
    return f"{checkout.version} installed" + (f" in place of {before.version}" if before else "")


def _unpack(context: HostContext, checkout: Checkout) -> Installed | None:
    """Have the checkout on the host; return what was installed before."""
    name, version = secrets.token_hex(4), checkout.version
    what = "the checkout could not be unpacked"
    before, _, found = _step(context, "begin", version, name, what=what).partition("\n")
    if found.strip() == "unpacked":
        return _parsed(before)
    context.say(f"sending {version} ({len(checkout.archive) / 1e6:.1f} MB)")
    part = f"{version_directory(context.host, version)}.{name}"
    try:
        context.output_of(Command(("tar", "-xzpf", "-", "-C", part), stdin=checkout.archive), what)
        _step(context, "place", version, name, what=what)
    except VmsandboxError:
        with contextlib.suppress(VmsandboxError):  # the disk may be full of it
            _step(context, "discard", version, name, what=what)
        raise
    return _parsed(before)


def _step(context: HostContext, step: str, *arguments: str, what: str) -> str:
    return context.program("installer", step, context.host.directory, *arguments, what=what).decode(errors="replace")


def _set_up(context: HostContext, version: str) -> None:
    host, progress = context.host, Progress(context)
    context.say(f"running {' '.join(host.setup)}")
    # Without -E, a failing setup could not be told from a lock that somebody else holds.
    lock = ("flock", "--close", "--nonblock", "-E", str(_BUSY), f"{host.directory}/lock")
    command = Command((*lock, *host.setup), version_directory(host, version))
    status = context.run(command, progress.add, progress.add)
    if status == _BUSY:
        raise FailedPrecondition("somebody else is setting this host up", hint="wait, and run `lab up` again")
    if status:
        raise FailedPrecondition(f"{' '.join(host.setup)} failed with status {status}: {progress.text}")


class Progress(LastLine):
    """Tells, now and then, the last line of a long command's output."""

    def __init__(self, context: HostContext) -> None:
        """Nothing has come yet."""
        super().__init__()
        self._context = context
        self._told, self._next = "", time.monotonic() + _TOLD_EACH

    def add(self, piece: bytes) -> None:
        """Take the next piece of output."""
        super().add(piece)
        if time.monotonic() >= self._next and self.text != self._told:
            self._told, self._next = self.text, time.monotonic() + _TOLD_EACH
            self._context.say(self.text)


def uninstall(context: HostContext, caches: bool) -> str:
    """End the pods of the versions on a host, and remove what `install` has made there.

    Debian packages and users that the setup command added stay; so do the caches, unless they are asked for.
    """
    directory = context.host.directory
    ended = context.program("ending", directory, what="pods could not be ended").decode(errors="replace").strip()
    if ended:
        context.say(ended)
    removed = context.program("installer", "remove", directory, what="the installation could not be removed")
    if caches:
        context.output_of(Command(("rm", "-rf", "/var/cache/vmsandbox")), "the caches could not be removed")
    return "removed" if removed.strip() == b"removed" else "nothing was installed"
