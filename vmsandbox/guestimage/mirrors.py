"""Where packages come from: the mirrors that the host's own apt uses, or the one that was asked for."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.errors import FailedPrecondition

MIRROR = "VMSANDBOX_DEBIAN_MIRROR"
"""The environment's name for the URL of a Debian mirror, on hosts whose own apt has none."""
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_ONE_LINE = re.compile(r"deb\s+(?:\[[^]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)")


@dataclass(frozen=True, slots=True)
class Source:
    """One combination of mirror and suite out of sources.list(5)."""

    uri: str
    suite: str
    components: tuple[str, ...]


def parse_one_line(text: str) -> Iterator[Source]:
    """The binary sources of a sources.list in the one-line style."""
    for line in text.splitlines():
        match = _ONE_LINE.fullmatch(line.partition("#")[0].strip())
        if match:
            yield Source(match["uri"], match["suite"], tuple(match["components"].split()))


def parse_deb822(text: str) -> Iterator[Source]:
    """The enabled binary sources of a .sources file in the deb822 style."""
    for stanza in re.split(r"\n\s*\n", text):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes") in ("no", "false"):
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(uri, suite, tuple(fields.get("components", "").split()))


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace():
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.lower()
            fields[name] = value.strip()
    return fields


def read_host_sources(apt: Path = Path("/etc/apt")) -> tuple[Source, ...]:
    """All sources of the host's apt configuration, in the order in which apt reads them."""
    found: list[Source] = []
    if (apt / "sources.list").is_file():
        found.extend(parse_one_line((apt / "sources.list").read_text()))
    for path in sorted((apt / "sources.list.d").glob("*")):
        if path.suffix == ".list":
            found.extend(parse_one_line(path.read_text()))
        elif path.suffix == ".sources":
            found.extend(parse_deb822(path.read_text()))
    return tuple(found)


def sources_for(suite: str, host: tuple[Source, ...], codename: str) -> tuple[Source, ...]:
    """Return the mirrors to build `suite` from: those that a host of release `codename` uses itself.

    The guest gets the suite's security updates where the host gets those of its release.

    Raises:
        FailedPrecondition: the host's apt names no mirror of its own release.
    """
    main = next((s for s in host if s.suite == codename and "main" in s.components), None)
    if main is None:
        raise FailedPrecondition(
            f"apt's configuration names no mirror of Debian {codename}".rstrip() + " to build the guest image from",
            hint=f"name one with --mirror URL, or for `make setup` with {MIRROR} in the environment",
        )
    security = [s for s in host if s.suite == f"{codename}-security" and "main" in s.components]
    sources = [Source(main.uri, suite, ("main",))]
    return (*sources, *(Source(s.uri, f"{suite}-security", ("main",)) for s in security[:1]))


def choose_sources(suite: str, mirror: str = "") -> tuple[Source, ...]:
    """The sources for `suite`: `mirror` or else `MIRROR` alone where there is one, and else the mirrors of the host."""
    if mirror := mirror or os.environ.get(MIRROR, ""):
        return (Source(mirror, suite, ("main",)),)
    return sources_for(suite, read_host_sources(), host_codename())


def host_codename(os_release: Path = Path("/etc/os-release")) -> str:
    """VERSION_CODENAME of os-release(5) where that is Debian's, or nothing: Ubuntu's mirrors do not have Debian."""
    fields = dict(re.findall(r'^(\w+)="?([\w.-]+)', os_release.read_text(), re.MULTILINE))
    return fields.get("VERSION_CODENAME", "") if fields.get("ID") == "debian" else ""


def sources_list(sources: tuple[Source, ...]) -> str:
    """The sources in the one-line style, signed by Debian's archive keys."""
    return "".join(f"deb [signed-by={KEYRING}] {s.uri} {s.suite} {' '.join(s.components)}\n" for s in sources)
