"""`lab run`, `lab exec` and `lab logs`: vmsandbox's own commands, run on the host where the pod is, or shall be."""

from collections.abc import Sequence

from vmsandbox.errors import FailedPrecondition, InvalidArgument, NotFound
from vmsandbox.lab.fleet import Fleet, HostContext, Outcome
from vmsandbox.lab.host import Command, LabHost, Streams
from vmsandbox.lab.installation import program_of, require
from vmsandbox.lab.text import plain

_MOST_SAID = 4096
"""Bytes of an error that are kept."""


def vmsandbox(
    fleet: Fleet, host: LabHost, arguments: tuple[str, ...], streams: Streams, stdin: bytes = b""
) -> Outcome[int]:
    """Run `vmsandbox ARGUMENTS` on a host, its output as it comes. The value is its exit status.

    SIGINT goes to it when an end is asked for. What has to stay secret, as a pod's manifest, is in `stdin`.
    """

    def work(context: HostContext) -> int:
        require(context)
        command = Command((program_of(host), *arguments), stdin=stdin)
        return context.connection.run(command, streams, context.stopping)

    return fleet.on([host], work)[0]


def host_of_pod(fleet: Fleet, hosts: Sequence[LabHost], name: str) -> LabHost:
    """The host whose daemon knows a pod or container of this name.

    Raises:
        NotFound: no host does. The evidence has what each says.
        InvalidArgument: several do.
    """
    outcomes = fleet.on(hosts, lambda context: _knows(context, name))
    found = [outcome.host for outcome in outcomes if outcome.value is True]
    if len(found) > 1:
        told = ", ".join(host.name for host in found)
        raise InvalidArgument(f"{name} is on several hosts: {told}", hint="--host NAME")
    if not found:
        told = "\n".join(f"{each.host.name}: {each.error or 'no pod or container has this name'}" for each in outcomes)
        raise NotFound(f"no host of the laboratory has a pod or container {name}", evidence={"hosts": told})
    return found[0]


def _knows(context: HostContext, name: str) -> bool:
    """Whether a host has a pod or container of this name. Raises FailedPrecondition where it cannot say."""
    require(context)
    said = bytearray()

    def keep(piece: bytes) -> None:
        said.extend(piece[: _MOST_SAID - len(said)])

    command = Command((program_of(context.host), "inspect", "--", name))
    if context.run(command, lambda _: None, keep) == 0:
        return True
    lines = [plain(line).strip() for line in said.decode(errors="replace").splitlines()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if errors and errors[0].startswith("there is no pod"):
        return False
    raise FailedPrecondition(next(iter(errors or filter(None, lines)), "`vmsandbox inspect` failed without a word"))
