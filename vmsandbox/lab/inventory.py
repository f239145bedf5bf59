"""The inventory: which hosts the laboratory has, and how each is reached. docs/lab.md shows every setting."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

from vmsandbox import typed_yaml
from vmsandbox.errors import Collected, FailedPrecondition, InvalidArgument, NotFound, together
from vmsandbox.fs.opening import MEBIBYTE, read_regular, reason
from vmsandbox.lab.host import Hop, HostKeys, LabHost, Reach
from vmsandbox.typed_yaml import YamlNode

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
"""A host's name is also the name of its directory of reports."""


@dataclass(frozen=True, slots=True)
class _Defaults:
    """Settings of every host that does not have its own."""

    port: int = 22
    user: str = "root"
    key: Path | None = None
    jump: str = ""
    sudo: bool = False
    directory: str = "/opt/vmsandbox-lab"
    setup: tuple[str, ...] = ("make", "setup")


@dataclass(frozen=True, slots=True)
class _HopEntry:
    """A host that connections lead through."""

    address: str
    port: int | None = None
    user: str | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class _HostEntry:
    """A host; what is None is as in the defaults."""

    address: str
    port: int | None = None
    user: str | None = None
    key: Path | None = None
    jump: str | None = None
    sudo: bool | None = None
    directory: str | None = None
    setup: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Document:
    """The file's keys."""

    hosts: dict[str, _HostEntry]
    jump_hosts: dict[str, _HopEntry] = field(default_factory=dict)
    defaults: _Defaults = field(default_factory=_Defaults)
    known_hosts: Path = Path("~/.ssh/known_hosts")
    host_keys: HostKeys = HostKeys.STRICT
    connect_timeout: float = 10
    silence_timeout: float = 30


@dataclass(frozen=True, slots=True)
class Inventory:
    """The hosts, in the order of the file."""

    hosts: tuple[LabHost, ...]
    reach: Reach

    def chosen(self, names: tuple[str, ...]) -> tuple[LabHost, ...]:
        """The hosts of these names; all hosts where no name is given.

        Raises:
            NotFound: the inventory has no such host.
        """
        known = {host.name: host for host in self.hosts}
        for name in names:
            if name not in known:
                raise NotFound(f"the inventory has no host {name}", hint=f"it has: {', '.join(known)}")
        return tuple(known[name] for name in dict.fromkeys(names)) or self.hosts


def load(path: Path) -> Inventory:
    """The inventory in a file.

    Raises:
        NotFound, FailedPrecondition: the file is not there, or cannot be read.
        InvalidArgument: it is not valid; the error names file, line and field of every mistake.
    """
    try:
        text = read_regular(path, MEBIBYTE, follow=True).decode()
    except FileNotFoundError:
        raise NotFound(f"there is no inventory {path}", hint="--inventory FILE; docs/lab.md shows one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FailedPrecondition(f"the inventory {path} cannot be read: {reason(error)}") from None
    return parse(text, str(path), path.parent)


def parse(text: str, source: str, directory: Path) -> Inventory:
    """The inventory that a text says.

    Args:
        text: the YAML.
        source: its name in errors.
        directory: relative paths of keys and known hosts begin here.

    Raises:
        InvalidArgument: as `load`.
    """
    documents = typed_yaml.read(text, source)
    if len(documents) != 1:
        raise InvalidArgument(f"{source}: an inventory is a single document with `hosts`")
    place, collected = documents[0], Collected()
    read, mistakes = typed_yaml.decode_all(_Document, place)
    if read is None or mistakes:  # What has one is left out, so that others seem to miss it.
        raise together(mistakes)
    collected.when(not read.hosts, place.of("hosts").error("there is no host"))
    for name in ("connect_timeout", "silence_timeout"):
        wrong = not 0 < getattr(read, name) < math.inf
        collected.when(wrong, place.of(name).error("this must be a number of seconds above 0"))
    reach = Reach(_path(read.known_hosts, directory), read.host_keys, read.connect_timeout, read.silence_timeout)
    hosts = [collected.of(_host, name, read, place, directory) for name in read.hosts]
    collected.check()
    return Inventory(tuple(host for host in hosts if host is not None), reach)


def _host(name: str, read: _Document, place: YamlNode, directory: Path) -> LabHost:
    entry, defaults, at = read.hosts[name], read.defaults, place.of("hosts").of(name)
    if not _NAME.fullmatch(name):
        raise at.error("a host's name has letters, digits, dots, hyphens and underscores, and at most 63 characters")
    where, setup = _own(entry.directory, defaults.directory), _own(entry.setup, defaults.setup)
    if PurePosixPath(where).parts[:1] != ("/",) or len(PurePosixPath(where).parts) < 3 or ".." in where.split("/"):
        raise at.of("directory").error("this is an absolute path below another directory: `lab down` removes it")
    if not setup:
        raise at.of("setup").error("this is a command, as a list of words")
    via = _own(entry.jump, defaults.jump)
    if via and via not in read.jump_hosts:
        raise at.of("jump").error(f"jump_hosts has no {via}")
    jump = _hop(via, read.jump_hosts[via], defaults, place.of("jump_hosts").of(via), directory) if via else None
    hop = _hop(name, entry, defaults, at, directory)
    return LabHost(hop, jump, _own(entry.sudo, defaults.sudo), where, setup)


def _hop(name: str, entry: _HostEntry | _HopEntry, defaults: _Defaults, at: YamlNode, directory: Path) -> Hop:
    port, key = _own(entry.port, defaults.port), entry.key or defaults.key
    if not entry.address or entry.address.startswith("-"):
        raise at.of("address").error("this is a host name or an IP address")
    if not 1 <= port <= 65535:
        raise at.of("port").error("a port is a number from 1 to 65535")
    return Hop(name, entry.address, port, _own(entry.user, defaults.user), key and _path(key, directory))


def _own(value: T | None, default: T) -> T:
    return default if value is None else value


def _path(path: Path, directory: Path) -> Path:
    return directory / path.expanduser()
