"""Rules of single values: each says what is wrong with a value, as the end of a sentence, or nothing.

They have no effects: nothing of the host is looked at. What depends on the host is checked by `node.settings`.
"""

import ipaddress
import math
import os
import re
from collections.abc import Callable
from pathlib import Path

from vmsandbox.typed_yaml import Check

LONGEST_SOCKET_PATH = 107
"""Bytes of a Unix socket's path at most (unix(7), sun_path), without the final NUL."""

_LONGEST_INTERFACE = 15
"""Bytes of a network interface's name (IFNAMSIZ - 1)."""
_LONGEST_COMMAND_LINE = 1024
"""Characters: the kernel's command line has 2048 (COMMAND_LINE_SIZE of x86), of which the guest image needs some."""
_LONGEST_ACCOUNT = 32
"""Characters of a user's or a group's name (useradd(8))."""

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def between(low: float, high: float, what: str = "a number") -> Check:
    """Numbers from `low` to `high`."""
    return lambda value: "" if low <= value <= high else f"{value} is not {what} from {low} to {high}"


def sized(low: int, high: int = 1 << 63) -> Check:
    """Sizes, in bytes, from `low` to `high`."""

    def check(value: int) -> str:
        if value < low:
            return f"{quantity(value)} is too small: it is at least {quantity(low)}"
        return f"{quantity(value)} is too large: it is at most {quantity(high)}" if value > high else ""

    return check


def one_of(*choices: str) -> Check:
    """One of a few words."""
    return lambda value: "" if value in choices else f"{value[:80]!r} is not one of {', '.join(map(repr, choices))}"


def seconds(value: float) -> str:
    """Durations."""
    return "" if 0 < value < math.inf else f"{value:g} is not a number of seconds above 0"


def absolute(value: Path) -> str:
    """Paths that mean the same whatever directory the daemon is started in."""
    if "\0" in str(value):
        return "a path has no NUL character"
    return "" if value.is_absolute() else f"{str(value)!r} is not an absolute path"


def socket_path(value: Path) -> str:
    """Paths of Unix sockets."""
    length, most = len(os.fsencode(value)), LONGEST_SOCKET_PATH
    return absolute(value) or ("" if length <= most else f"it has {length} bytes, and a socket's path at most {most}")


def address(value: str) -> str:
    """Addresses to listen on."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return f"{value[:80]!r} is not an IP address, such as 127.0.0.1, 0.0.0.0 or ::1"
    return ""


def listening(value: str) -> str:
    """Addresses to listen on, with a port."""
    host, _, port = value.rpartition(":")
    if address(host[1:-1] if host.startswith("[") and host.endswith("]") else host) or (
        ":" in host and "[" not in host
    ):
        return f"{value[:80]!r} is not an IP address and a port, such as 127.0.0.1:9464 or [::1]:9464"
    return _port(port)


def endpoint(value: str) -> str:
    """Hosts to connect to, with a port."""
    host, _, port = value.rpartition(":")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:]+\]", host):
        return f"{value[:80]!r} is not a host and a port, such as 127.0.0.1:4317 or collector.example:4317"
    return _port(port)


def _port(text: str) -> str:
    if re.fullmatch(r"[0-9]{1,5}", text) and 0 < int(text) < 65536:
        return ""
    return f"{text[:80]!r} is not a port: a number from 1 to 65535"


def subnet_v4(value: str) -> str:
    """Ranges of IPv4 addresses with room for the bridge and a pod."""
    return _subnet(value, ipaddress.IPv4Network, "10.105.0.0/16", longest=29)


def subnet_v6(value: str) -> str:
    """Ranges of IPv6 addresses; or none."""
    return _subnet(value, ipaddress.IPv6Network, "fd76:6d73:616e:64::/64", longest=120) if value else ""


def _subnet(
    value: str, kind: Callable[..., ipaddress.IPv4Network | ipaddress.IPv6Network], such: str, longest: int
) -> str:
    try:
        network = kind(value, strict=False)
    except ValueError:
        return f"{value[:80]!r} is not a range of addresses, such as {such}"
    if "/" not in value or network.prefixlen > longest:
        return f"{value} has no room for pods: the prefix is at most /{longest}, as in {such}"
    if str(network.network_address) != str(kind(value.partition("/")[0] + f"/{network.max_prefixlen}").network_address):
        return f"{value} is an address within a range: the range is {network}"
    return ""


def interface(value: str) -> str:
    """Names of network interfaces."""
    if not value or len(os.fsencode(value)) > _LONGEST_INTERFACE:
        return f"{value[:80]!r} is not the name of a network interface: it has 1 to {_LONGEST_INTERFACE} bytes"
    if value in (".", "..") or not re.fullmatch(r"[!-.0-9;-~]+", value):
        return f"{value!r} is not the name of a network interface: it has no blanks, slashes and colons"
    return ""


def account(value: str) -> str:
    """Names of users and groups."""
    if re.fullmatch(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{_LONGEST_ACCOUNT - 2}}}[A-Za-z0-9_.$-]?", value):
        return ""
    return f"{value[:80]!r} is not the name of a user or a group"


def account_or_none(value: str) -> str:
    """Names of groups; or none."""
    return account(value) if value else ""


def handler(value: str) -> str:
    """Handlers of RuntimeClasses (node.k8s.io/v1: a DNS label, RFC 1123)."""
    if _LABEL.fullmatch(value):
        return ""
    return (
        f"{value[:80]!r} is not a RuntimeClass handler: at most 63 lower case letters, digits and '-', "
        "with a letter or a digit at both ends"
    )


def handler_or_none(value: str) -> str:
    """Handlers of RuntimeClasses; or that of pods without one, the empty text."""
    return handler(value) if value else ""


def cgroup(value: str) -> str:
    """The name of one cgroup; or none."""
    if value in (".", "..") or not re.fullmatch(r"[!-.0-~]{0,255}", value):
        return f"{value[:80]!r} is not the name of a cgroup at the top of the hierarchy, without slashes and blanks"
    return ""


def kernel_parameters(value: str) -> str:
    """Words for the kernel's command line."""
    if len(value) > _LONGEST_COMMAND_LINE:
        return f"{len(value)} characters are too many for the kernel's command line: at most {_LONGEST_COMMAND_LINE}"
    if not re.fullmatch(r"[ -~]*", value):
        return "the kernel's command line has printable ASCII characters only"
    return "" if value.count('"') % 2 == 0 else "a quotation mark is not closed"


def libvirt_uri(value: str) -> str:
    """The libvirt of this host, since machines and their files are here."""
    if value == "auto" or re.fullmatch(r"qemu(\+unix)?:///(system|session)(\?[!-~]*)?", value):
        return ""
    if re.fullmatch(r"qemu:///embed\?root=/[!-~]*", value):
        return ""
    return f"{value[:80]!r} is not a libvirt of this host: auto, qemu:///system, or qemu:///embed?root=/DIRECTORY"


def quantity(value: int) -> str:
    """Bytes as a person writes them in the file: 256Mi; a plain number if it is not a whole multiple of 1 Ki."""
    for power, suffix in ((60, "Ei"), (50, "Pi"), (40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")):
        if value and value % (1 << power) == 0:
            return f"{value >> power}{suffix}"
    return str(value)
