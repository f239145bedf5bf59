"""The host's resolv.conf(5), which pods inherit."""

from pathlib import Path

from vmsandbox.fs.opening import MEBIBYTE, read_regular
from vmsandbox.protocol.messages import Dns

_STUB, _BEHIND_STUB = Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")


def parse_resolv_conf(text: str) -> Dns:
    """Parse a resolv.conf(5). The last `search` counts; comments and malformed lines do not."""
    servers: list[str] = []
    searches: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        match line.split("#", 1)[0].split(";", 1)[0].split():
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search" | "domain", *domains]:
                searches = tuple(domain for domain in domains if domain != ".")
            case ["options", *given]:
                options.extend(given)
    return Dns(tuple(servers), searches, tuple(options))


def host_dns(path: Path = _STUB, behind: Path = _BEHIND_STUB) -> Dns:
    """The host's resolver configuration, for `PlanSettings.dns`.

    A name server on a loopback address is the host's own and answers nobody in a pod: where systemd-resolved is the
    one, its own upstream servers count, else such servers are left out.
    """
    dns = _read(path)
    if dns.servers and all(map(_is_loopback, dns.servers)):
        upstream = _read(behind)
        dns = upstream if upstream.servers else dns
    return Dns(tuple(server for server in dns.servers if not _is_loopback(server)), dns.searches, dns.options)


def _read(path: Path) -> Dns:
    try:
        return parse_resolv_conf(read_regular(path, MEBIBYTE, follow=True).decode(errors="replace"))
    except OSError:
        return Dns()


def _is_loopback(server: str) -> bool:
    return server.startswith("127.") or server == "::1"
