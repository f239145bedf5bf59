"""virtiofsd, which serves the volumes of machines: the one of this host that is taken, and how it is started.

There are two programs of that name. The one written in Rust takes the groups of a guest's processes along, and keeps
extended attributes and ACLs; QEMU's in C, which ended with QEMU 7.2, does not.
"""

import os
import re
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from vmsandbox import process
from vmsandbox.config import Config
from vmsandbox.errors import FailedPrecondition, VmsandboxError
from vmsandbox.fs.durable import replace_whole

HELPERS = Path(sys.prefix) / "libexec"
"""Where `packaging/install.sh` puts helpers; a checkout uses those that `make setup` puts elsewhere."""

PLACES = (
    HELPERS / "virtiofsd",
    Path("/var/cache/vmsandbox/bin/virtiofsd"),
    Path("/usr/libexec/virtiofsd"),
    Path("/usr/lib/qemu/virtiofsd"),
)
"""The paths of virtiofsd, the best first. The first three are written in Rust: that of an installation (if Debian has
none), that of `make setup`, and Debian 13's. The last one is QEMU's."""

OLDEST = (1, 13)
"""The oldest version of the virtiofsd in Rust that has all `OPTIONS`."""

ATTRIBUTES = (
    (":bad:client:user.virtiofs.::", "Attributes below this prefix cannot be accessed by their names there."),
    (":ok:all:security.capability:security.capability:", "The host's kernel takes it from a file that is written."),
    (":prefix:all:trusted.:user.virtiofs.:", "Overlays keep theirs here. On the host it would need CAP_SYS_ADMIN."),
    (":prefix:all:security.:user.virtiofs.:", "A label that the guest sets means nothing to the host."),
    (":ok:all:system.posix_acl_:system.posix_acl_:", "ACLs."),
    (":ok:all:user.:user.:", "The files' own."),
    (":unsupported:client:::", "There are no others."),
    (":bad:server:::", "Labels of the host are not the guest's to see."),
)
"""How a guest's extended attributes are kept on the host, as rules of virtiofsd (its doc/xattr-mapping.md), and why."""

OPTIONS = (
    # O_PATH descriptors, as file handles need CAP_DAC_READ_SEARCH: with it any file of a file system can be opened.
    "--inode-file-handles=never",
    # One file reached by two mounts has one number, and the guest no mounts that nobody made there.
    "--no-announce-submounts",
    "--xattrmap=" + " ".join(rule for rule, _ in ATTRIBUTES),
    "--posix-acl",
    # Else the guest asks for security.capability before each write, to see whether it is to be taken from the file.
    "--killpriv-v2",
    # A file system that hangs below one volume holds up the others only when this many calls wait for it.
    "--thread-pool-size=64",
)
"""The options of the virtiofsd in Rust, in addition to libvirt's."""

PREFIX = ("setpriv", "--securebits", "+no_setuid_fixup", "--")
"""Has it keep its capabilities where it makes a file as one of a guest's users.

Without them root of a user namespace could not make a file where other users of the namespace may not: on the host
it is one user among others. The guest's kernel has decided by then who may, and acts as root on the volumes anyway.
"""

_RUST = re.compile(r"virtiofsd (?P<version>\d+\.\d+\S*)\s*")
_C = re.compile(r"virtiofsd version (?P<version>\S+)")
_ANSWER_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class FileServer:
    """A virtiofsd of this host."""

    program: Path
    version: str
    is_rust: bool
    """Whether it is the virtiofsd written in Rust."""


async def find(config: Config) -> FileServer:
    """The virtiofsd that serves this node's volumes: the configured one, or the first of `PLACES`.

    Raises:
        FailedPrecondition: the configured one is not there or too old; or there is none.
    """
    if config.virtiofsd is not None:
        return await _look_at(config.virtiofsd)
    failures: dict[Path, VmsandboxError] = {}
    for place in PLACES:
        try:
            return await _look_at(place)
        except VmsandboxError as error:  # The next one may do.
            failures[place] = error
    raise FailedPrecondition(
        f"there is no virtiofsd: not {', nor '.join(map(str, PLACES))}",
        hint="apt-get install virtiofsd (Debian 13), or `make setup` (Debian 12)",
        # One that is not installed has nothing to say.
        evidence={str(place): failure.report() for place, failure in failures.items() if place.exists()},
    )


def launcher(server: FileServer, directory: Path) -> Path:
    """The program that libvirt (9.0) starts for a machine: `server`, or a script that starts it with `OPTIONS`.

    The script is written into `directory`, which is one process's own.
    """
    if not server.is_rust:
        return server.program
    script = directory / "virtiofsd"
    replace_whole(script, script_text(server.program).encode(), 0o700)
    return script


def may_serve(directory: Path) -> bool:
    """Whether a virtiofsd that this process starts may do all that one of libvirt's may.

    Under the systemd unit alone this process and its children make no set-user-id files and no device nodes
    (RestrictSUIDSGID=, DevicePolicy=); its drop-in for an embedded libvirt lets them do both.

    Args:
        directory: a file is made in it, and removed.
    """
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        try:
            os.fchmod(file.fileno(), 0o4700)
        except PermissionError:
            return False
    return True


def script_text(program: Path) -> str:
    """A shell's script that becomes `program`, of whose options libvirt can say few."""
    options = " \\\n    ".join(map(shlex.quote, OPTIONS))
    line = shlex.join([*PREFIX, str(program)])
    return f'#!/bin/sh\n# Written by vmsandbox, for libvirt.\nexec {line} "$@" \\\n    {options}\n'


async def _look_at(program: Path) -> FileServer:
    printed = (await process.run([str(program), "--version"], timeout=_ANSWER_TIMEOUT)).stdout.decode(errors="replace")
    if found := _C.match(printed):
        return FileServer(program, found["version"], is_rust=False)
    found = _RUST.match(printed)
    if found is None or tuple(map(int, found["version"].split(".")[:2])) < OLDEST:
        first = printed.partition("\n")[0][:80]
        raise FailedPrecondition(
            f"{program} is {first!r}, and vmsandbox needs virtiofsd {OLDEST[0]}.{OLDEST[1]} or later, or QEMU's",
            hint="name another one in the configuration (virtiofsd), or omit it to have one found",
        )
    return FileServer(program, found["version"], is_rust=True)
