"""vmsandbox pods, ps, images, inspect, events: what the daemon has."""

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict

import click

from vmsandbox.cli import terminal
from vmsandbox.cli.commands.daemon import ask, find_container, find_pod, short
from vmsandbox.cli.commands.image import print_images
from vmsandbox.cli.options import Global, duration, output_option
from vmsandbox.cri.client import CriClient
from vmsandbox.errors import NotFound
from vmsandbox.model import ContainerState, ContainerStatus, SandboxStatus
from vmsandbox.protocol import codec
from vmsandbox.protocol.codec import JSON


@click.command()
@output_option
@click.pass_obj
def pods(options: Global, output: str) -> None:
    """List the pods of the daemon: each is a virtual machine."""
    found = ask(options, lambda client: client.list_pod_sandboxes())
    if output == "json":
        terminal.result_json([codec.encode(pod) for pod in found])
        return
    rows = []
    for pod in sorted(found, key=lambda pod: pod.created_at, reverse=True):
        metadata = pod.config.metadata
        row = (short(pod.id), metadata.name, metadata.namespace, pod.state.value, _age(pod.created_at))
        rows.append((*row, pod.config.runtime_handler or "(default)"))
    terminal.table(("POD ID", "NAME", "NAMESPACE", "STATE", "AGE", "HANDLER"), rows)


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Include those that do not run.")
@output_option
@click.pass_obj
def ps(options: Global, everything: bool, output: str) -> None:
    """List the containers that run."""

    async def work(client: CriClient) -> tuple[list[ContainerStatus], dict[str, str]]:
        names = {pod.id: pod.config.metadata.name for pod in await client.list_pod_sandboxes()}
        shown = [one for one in await client.list_containers() if everything or one.state is ContainerState.RUNNING]
        return shown, names

    found, names = ask(options, work)
    if output == "json":
        terminal.result_json([codec.encode(one) for one in found])
        return
    rows = []
    for one in sorted(found, key=lambda one: one.created_at, reverse=True):
        metadata = one.config.metadata
        row = (short(one.id), metadata.name, names.get(one.sandbox_id, ""), one.state.value, _age(one.created_at))
        rows.append((*row, str(metadata.attempt), one.config.image or short(one.image_ref)))
    terminal.table(("CONTAINER ID", "NAME", "POD", "STATE", "AGE", "ATTEMPT", "IMAGE"), rows)


@click.command()
@output_option
@click.pass_obj
def images(options: Global, output: str) -> None:
    """List the images of the daemon."""
    print_images(ask(options, lambda client: client.images.list()), output)


@click.command()
@click.argument("name")
@click.pass_obj
def inspect(options: Global, name: str) -> None:
    """Print all about a pod, a container or an image, as JSON.

    NAME is a name or an id's beginning.
    """

    async def work(client: CriClient) -> JSON:
        for look in (_inspect_pod, _inspect_container, _inspect_image):
            if (found := await look(client, name)) is not None:
                return found
        raise NotFound(f"there is no pod, container or image {name}")

    terminal.result_json(ask(options, work))


@click.command()
@output_option
@click.pass_obj
def events(options: Global, output: str) -> None:
    """Print what happens to pods and containers, until Ctrl-C.

    Or the end of the daemon.
    """

    async def work(client: CriClient) -> None:
        async for event in client.events():
            if output == "json":
                terminal.result(json.dumps(codec.encode(event)))
                continue
            kind = "pod" if event.container_id == event.sandbox_id else "container"
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(event.at / 1e9))
            terminal.result(f"{moment} {kind} {short(event.container_id)} {event.kind.value}")

    ask(options, work)


async def _inspect_pod(client: CriClient, name: str) -> JSON:
    return await _inspect(lambda: find_pod(client, name), client.inspect_pod_sandbox)


async def _inspect_container(client: CriClient, name: str) -> JSON:
    return await _inspect(lambda: find_container(client, name), client.inspect_container)


async def _inspect_image(client: CriClient, name: str) -> JSON:
    found = await client.images.find(name)
    return None if found is None else asdict(found)


async def _inspect(
    find: Callable[[], Awaitable[SandboxStatus | ContainerStatus]], tell: Callable[[str], Awaitable[JSON]]
) -> JSON:
    try:
        found = await find()
    except NotFound:
        return None
    return await tell(found.id)


def _age(created_at: int) -> str:
    return duration(time.time() - created_at / 1e9)
