"""`lab check`: what each host is and can do, as one table; and which host is the least busy."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vmsandbox import typed_yaml
from vmsandbox.errors import Unavailable
from vmsandbox.lab.fleet import Fleet, HostContext, Outcome
from vmsandbox.lab.host import Command, LabHost
from vmsandbox.lab.installation import Installed, installed, program_of, require
from vmsandbox.lab.text import LastLine, plain

COLUMNS = (
    "HOST",
    "VERSION",
    "CHECK",
    "ACCELERATOR",
    "KVM",
    "NESTING",
    "VIRTUAL",
    "VSOCK",
    "CGROUP",
    "CPUS",
    "MEMORY",
    "LOAD",
    "KERNEL",
)
_BOOTED = re.compile(r"a guest boots under (\w+) in ([0-9.]+) s")
"""The words of `vmsandbox check`; its first accelerator that works is the one that pods get."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about a host, from `remote.facts`."""

    kernel: str
    architecture: str
    system: str
    cpus: int
    load: float
    memory: int
    available: int
    cgroup: int
    kvm: bool
    nesting: str
    virtual: bool
    vsock: bool

    @property
    def busy(self) -> tuple[float, int]:
        """The smaller, the less busy: load for each CPU, in quarters, then memory that is not available."""
        return round(4 * self.load / self.cpus) / 4, -self.available


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A host as `lab check` shows it."""

    facts: Facts
    installed: Installed | None
    accelerator: str
    """The one that a machine booted under, with the seconds that it took; empty where none was tried or works."""
    missing: tuple[str, ...]
    """The missing requirements that `vmsandbox check` reports; also empty if it has not run."""


def facts_of(context: HostContext) -> Facts:
    """The facts of a host.

    Raises:
        InvalidArgument: its answer is not what the program prints.
    """
    told = context.program("facts", what="the host's facts cannot be read").decode(errors="replace")
    places = typed_yaml.read(told, "facts")  # JSON is YAML, and this checks types
    facts = typed_yaml.decode(Facts, places[0] if places else typed_yaml.NOWHERE)
    return replace(facts, kernel=plain(facts.kernel), system=plain(facts.system), cpus=max(1, facts.cpus))


def survey(context: HostContext) -> Surveyed:
    """Look at a host. Where vmsandbox is installed, `vmsandbox check` boots a machine under each accelerator there."""
    found, facts = installed(context), facts_of(context)
    if found is None or not found.ready:
        return Surveyed(facts, found, "", ())
    context.say("booting a machine under each accelerator")
    said, last = bytearray(), LastLine()
    command = Command((program_of(context.host), "check", "--output", "json"))
    context.run(command, said.extend, last.add)  # its status is 1 where something is missing
    try:
        sections = json.loads(said)
        return Surveyed(facts, found, accelerator_in(sections), _missing(sections))
    except (ValueError, TypeError, KeyError):
        return Surveyed(facts, found, "", (f"check could not run: {last.text}",))


def accelerator_in(sections: Sequence[dict[str, object]]) -> str:
    """The accelerator that `vmsandbox check --output json` found to work: `KVM 2.1s`."""
    for message, _ in _findings(sections):
        if booted := _BOOTED.search(message):
            return f"{booted[1]} {booted[2]}s"
    return ""


def _missing(sections: Sequence[dict[str, object]]) -> tuple[str, ...]:
    return tuple(plain(message).splitlines()[0] for message, ok in _findings(sections) if not ok)


def _findings(sections: Sequence[dict[str, object]]) -> list[tuple[str, bool]]:
    return [(str(each["message"]), bool(each["ok"])) for one in sections for each in one["findings"]]  # type: ignore[attr-defined]


def row(outcome: Outcome[Surveyed]) -> tuple[str, ...]:
    """A host's line of the table."""
    name, found = outcome.host.name, outcome.value
    if found is None:
        return (
            name,
            "-",
            "no answer" if isinstance(outcome.error, Unavailable) else "failed",
            *["-"] * (len(COLUMNS) - 3),
        )
    facts, ready = found.facts, found.installed is not None and found.installed.ready
    return (
        name,
        "none" if found.installed is None else found.installed.version if ready else "broken",
        "not installed" if not ready else f"{len(found.missing)} missing" if found.missing else "ok",
        found.accelerator or ("none" if ready else "not tried"),
        "yes" if facts.kvm else "no",
        facts.nesting,
        "yes" if facts.virtual else "no",
        "kernel" if facts.vsock else "device",
        f"v{facts.cgroup}",
        str(facts.cpus),
        f"{facts.memory / (1 << 30):.0f}Gi",
        f"{facts.load:.1f}",
        facts.kernel,
    )


def least_busy(fleet: Fleet, hosts: Sequence[LabHost]) -> LabHost:
    """The host with the least to do of those on which vmsandbox is ready.

    Raises:
        Unavailable: no host is ready; the evidence says why, for each.
    """

    def look(context: HostContext) -> Facts:
        require(context)
        return facts_of(context)

    outcomes = fleet.on(hosts, look)
    ready = [(outcome.value.busy, number) for number, outcome in enumerate(outcomes) if outcome.value is not None]
    if not ready:
        told = "\n".join(f"{outcome.host.name}: {outcome.error}" for outcome in outcomes)
        raise Unavailable(
            "no host of the laboratory can run a pod", hint="`vmsandbox lab up`", evidence={"hosts": told}
        )
    return hosts[min(ready)[1]]
