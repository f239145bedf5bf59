"""vmsandbox events: what happens to pods and containers."""

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import click

from vmsandbox.cli import terminal
from vmsandbox.cli.commands.daemon import ask
from vmsandbox.cli.commands.entries import event_entry, short
from vmsandbox.cli.commands.formats import form_option
from vmsandbox.cli.options import Global
from vmsandbox.model import ContainerEvent, ContainerEventKind, ContainerStatus, SandboxStatus

if TYPE_CHECKING:
    from vmsandbox.cri.client import CriClient


@dataclass(slots=True)
class Known:
    """The pods and containers that events were seen of: a removed one has its name from here."""

    client: "CriClient"
    pods: dict[str, SandboxStatus] = field(default_factory=dict)
    containers: dict[str, ContainerStatus] = field(default_factory=dict)

    async def look(self) -> None:
        """Learn what there is now."""
        self.pods |= {pod.id: pod for pod in await self.client.list_pod_sandboxes()}
        self.containers |= {one.id: one for one in await self.client.list_containers()}

    async def entry(self, event: ContainerEvent) -> dict[str, object]:
        """Describe an event."""
        if event.container_id not in self.pods | self.containers:
            await self.look()
        container = self.containers.get(event.container_id)
        if container is not None:  # An event without its sandbox, which was removed, has only the container's id.
            event = replace(event, sandbox_id=container.sandbox_id)
        pod = self.pods.get(event.sandbox_id)
        entry = event_entry(event, container.config.metadata.name if container else "", pod)
        if event.kind is ContainerEventKind.DELETED:
            self.pods.pop(event.container_id, None)
            self.containers.pop(event.container_id, None)
        return entry


@click.command()
@form_option(("text", "json"))
@click.pass_obj
def events(options: Global, output: str) -> None:
    """Print what happens to pods and containers, until Ctrl-C.

    Or the end of the daemon.
    As JSON, each event is an object on a line of its own. Example: vmsandbox events -o json
    """

    async def work(client: "CriClient") -> None:
        known = Known(client)
        await known.look()
        async for event in client.events():
            entry = await known.entry(event)
            terminal.result(json.dumps(entry) if output == "json" else _line(entry))

    ask(options, work)


def _line(entry: dict[str, object]) -> str:
    """Write an event in a line: time, kind, id, name, what happened."""
    name = f"{entry['namespace']}/{entry['pod']}" if entry["pod"] else "-"
    if entry["kind"] == "container":
        name = f"{name}/{entry['name'] or '-'}"
    moment = str(entry["time"])[:19] + "Z"
    return f"{moment} {entry['kind']} {short(str(entry['id']))} {name} {str(entry['type']).lower()}"
