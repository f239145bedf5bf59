"""Single values of options, as podman has them, in the words of a Pod. All raise InvalidArgument."""

import json
import posixpath
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

from vmsandbox.errors import InvalidArgument

_MEMORY = re.compile(r"(\d+(?:\.\d+)?) ?([bkmgt]?)i?b?", re.IGNORECASE)
_SHIFT = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_BINARY = (("Gi", 30), ("Mi", 20), ("Ki", 10))
_CPUS = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_PORT = re.compile(
    r"(?:(?P<ip>\[[0-9a-fA-F:]+\]|\d+(?:\.\d+){3}):)?(?:(?P<host>\d+(?:-\d+)?)?:)?(?P<port>\d+(?:-\d+)?)(?:/(?P<protocol>\w+))?"
)
_PROTOCOLS = ("tcp", "udp", "sctp")
_MOST_PORTS = 65536
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
_LABEL_KEY = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def wrong(option: str, message: str, hint: str = "") -> InvalidArgument:
    """The error of an option."""
    return InvalidArgument(f"{option}: {message}", hint=hint)


def literal(text: str) -> str:
    """`text` so written that the references of Kubernetes, $(NAME), leave it as it is."""
    return re.sub(r"\$(?=[$(])", "$$", text)


def pairs(option: str, given: Iterable[str]) -> Iterator[tuple[str, str]]:
    """NAME=VALUE; without `=` the value is empty."""
    for text in given:
        name, _, value = text.partition("=")
        if not name:
            raise wrong(option, f"{text[:80]!r} has no name", hint=f"{option} NAME=VALUE")
        yield name, value


def labels(given: Iterable[str]) -> dict[str, str]:
    """--label. The labels of a Pod have a form; those of podman are free."""
    found = dict(pairs("--label", given))
    for name, value in found.items():
        if not _LABEL_KEY.fullmatch(name) or not _LABEL_VALUE.fullmatch(value):
            shown = f"{name}={value}"[:80]
            raise wrong("--label", f"{shown!r} is not a label of Kubernetes", hint="--annotation takes any text")
    return found


def memory(option: str, text: str) -> str:
    """512m, 1g, 1.5GiB or bytes, all with powers of 1024, as a quantity; empty for 0, which means without a limit."""
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise wrong(option, f"{text[:80]!r} is not a size", hint="512m, 1g, or a number of bytes")
    size = int(Fraction(match[1]) * (1 << _SHIFT[match[2].lower()]))
    for suffix, shift in _BINARY:
        if size and size % (1 << shift) == 0:
            return f"{size >> shift}{suffix}"
    return str(size) if size else ""


def cpus(text: str) -> str:
    """--cpus: a number, as a quantity; empty for 0, which means without a limit."""
    if not _CPUS.fullmatch(text):
        raise wrong("--cpus", f"{text[:80]!r} is not a number of CPUs", hint="2, 0.5")
    milli = int(Fraction(text) * 1000)
    if not milli and Fraction(text):
        raise wrong("--cpus", "a thousandth of a CPU is the least")
    return f"{milli}m" if milli % 1000 else str(milli // 1000) if milli else ""


def ports(text: str) -> list[dict[str, Any]]:
    """[IP:]HOST:CONTAINER[/PROTOCOL], each port or a range of them, as ContainerPorts."""
    match = _PORT.fullmatch(text)
    if match is None:
        raise wrong("--publish", f"{text[:80]!r} is not a port", hint="-p 8080:80, -p 127.0.0.1:8080:80/udp")
    if not match["host"]:
        port = match["port"]
        raise wrong("--publish", "a Pod names the port of the host; none is chosen for it", hint=f"-p {port}:{port}")
    protocol = (match["protocol"] or "tcp").lower()
    if protocol not in _PROTOCOLS:
        raise wrong("--publish", f"{protocol!r} is not one of {', '.join(_PROTOCOLS)}")
    inside, outside = _range(match["port"]), _range(match["host"])
    if len(inside) != len(outside):
        raise wrong("--publish", f"the ranges of {text[:80]!r} are not of one length")
    more: dict[str, Any] = {} if protocol == "tcp" else {"protocol": protocol.upper()}
    more |= {"hostIP": match["ip"].strip("[]")} if match["ip"] else {}
    return [{"containerPort": a, "hostPort": b, **more} for a, b in zip(inside, outside, strict=True)]


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    found = range(int(first), int(last or first) + 1)
    if not found or found[0] < 1 or found[-1] >= _MOST_PORTS:
        raise wrong("--publish", f"{text[:80]!r} is not a port or a range of ports")
    return found


def user(text: str) -> dict[str, int]:
    """--user: UID or UID:GID; names are in the image, and a Pod has numbers alone."""
    name, colon, group = text.partition(":")
    if not name.isdecimal() or (colon and not group.isdecimal()):
        raise wrong("--user", f"{text[:80]!r} is not a number; a Pod does not name users", hint="-u UID or -u UID:GID")
    return {"runAsUser": int(name)} | ({"runAsGroup": int(group)} if colon else {})


def capabilities(given: Iterable[str]) -> list[str]:
    """Kubernetes' names of them: without CAP_."""
    return list(dict.fromkeys(name.upper().removeprefix("CAP_") for name in given))


def entrypoint(text: str) -> list[str]:
    """A program, or a list of words in JSON."""
    if not text.startswith("["):
        return [text]
    try:
        words = json.loads(text)
    except ValueError:
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise wrong(
            "--entrypoint", f"{text[:80]!r} is not a list of words in JSON", hint='--entrypoint \'["sh", "-c"]\''
        )
    return words


def absolute(option: str, path: str) -> str:
    """An absolute path of the container."""
    if not path.startswith("/"):
        raise wrong(option, f"{path[:80]!r} is not an absolute path of the container")
    return posixpath.normpath(path)


def number(option: str, text: str) -> int:
    """A whole number that is not negative."""
    if not text.isdecimal():
        raise wrong(option, f"{text[:80]!r} is not a whole number")
    return int(text)
