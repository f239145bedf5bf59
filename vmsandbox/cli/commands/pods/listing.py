"""vmsandbox pods and ps: what the daemon has."""

from collections.abc import Mapping, Sequence

import click

from vmsandbox.cli.commands.daemon import ask_for_lists
from vmsandbox.cli.commands.entries import (
    Entry,
    age,
    container_entry,
    image_names,
    names_no_image,
    pod_entry,
    short,
    words,
)
from vmsandbox.cli.commands.filters import Filters, Test, begins, filter_option, has_label, has_state, like, passes
from vmsandbox.cli.commands.formats import Column, field, list_options, pairs, show
from vmsandbox.cli.commands.lists import Lister
from vmsandbox.cli.options import Global
from vmsandbox.errors import VmsandboxError
from vmsandbox.model import SandboxState, SandboxStatus

_POD_TESTS: Mapping[str, Test] = {
    "name": like("name"),
    "namespace": like("namespace"),
    "status": has_state,
    "label": has_label,
    "id": begins("id"),
}


def _in_pod(entry: Entry, value: str) -> bool:
    return like("pod")(entry, value) or begins("podId")(entry, value)


_CONTAINER_TESTS: Mapping[str, Test] = {**_POD_TESTS, "pod": _in_pod, "image": like("image")}

_STATE = Column("STATE", lambda entry: words(entry["state"]))
_AGE = Column("AGE", lambda entry: age(entry["createdAt"]))
_LABELS = Column("LABELS", pairs("labels"), wide=True)

_POD_COLUMNS = (
    Column("POD ID", lambda entry: short(entry["id"])),
    Column("NAME", field("name")),
    Column("NAMESPACE", field("namespace")),
    _STATE,
    _AGE,
    Column("ADDRESS", lambda entry: ",".join(entry["addresses"]) or "-"),
    Column("HANDLER", lambda entry: entry["handler"] or "(default)"),
    Column("ATTEMPT", field("attempt"), wide=True),
    Column("UID", field("uid"), wide=True),
    _LABELS,
)
_CONTAINER_COLUMNS = (
    Column("CONTAINER ID", lambda entry: short(entry["id"])),
    Column("NAME", field("name")),
    Column("POD", field("pod")),
    _STATE,
    _AGE,
    Column("ATTEMPT", field("attempt")),
    Column("IMAGE", field("image")),
    Column("NAMESPACE", field("namespace"), wide=True),
    Column("POD ID", lambda entry: short(entry["podId"]), wide=True),
    Column("IMAGE ID", lambda entry: short(entry["imageId"]), wide=True),
    _LABELS,
)


@click.command()
@filter_option(_POD_TESTS)
@list_options
@click.pass_obj
def pods(options: Global, filters: Filters, output: str, quiet: bool) -> None:
    """List the pods of the daemon: each is a virtual machine.

    Example: vmsandbox pods --filter status=ready -o wide
    """
    found = [entry for entry in ask_for_lists(options, pod_entries) if passes(entry, filters, _POD_TESTS)]
    show(_newest_first(found), _POD_COLUMNS, lambda pod: f"{pod['namespace']}/{pod['name']}", output, quiet=quiet)


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Include those that do not run.")
@filter_option(_CONTAINER_TESTS)
@list_options
@click.pass_obj
def ps(options: Global, everything: bool, filters: Filters, output: str, quiet: bool) -> None:
    """List the containers that run.

    With a filter for a status, those that have it.

    Example: vmsandbox ps --all --filter pod=web --filter label=app
    """
    wanted = filters if everything or "status" in filters else {**filters, "status": ["running"]}
    found = [entry for entry in ask_for_lists(options, container_entries) if passes(entry, wanted, _CONTAINER_TESTS)]
    show(_newest_first(found), _CONTAINER_COLUMNS, lambda one: f"{one['pod']}/{one['name']}", output, quiet=quiet)


async def pod_entries(client: Lister) -> list[Entry]:
    """Describe all pods of the daemon."""
    listed = await client.list_pod_sandboxes()
    return [pod_entry(pod, await _addresses(client, pod)) for pod in listed]


async def _addresses(client: Lister, pod: SandboxStatus) -> Sequence[str]:
    """Return the addresses of a pod; none, where it has ended in the meantime."""
    if pod.state is not SandboxState.READY:
        return ()
    try:
        return (await client.pod_sandbox_status(pod.id)).ips
    except VmsandboxError:
        return ()


async def container_entries(client: Lister) -> list[Entry]:
    """Describe all containers of the daemon."""
    listed = await client.list_containers()
    by_id = {pod.id: pod for pod in await client.list_pod_sandboxes()}
    names = image_names(await client.images.list()) if any(map(names_no_image, listed)) else {}
    return [container_entry(one, by_id.get(one.sandbox_id), names) for one in listed]


def _newest_first(entries: Sequence[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: str(entry["createdAt"]), reverse=True)
