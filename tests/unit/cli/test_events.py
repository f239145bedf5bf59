"""Events with the names of pods and containers."""

import json

from vmsandbox.cli.commands.entries import event_entry
from vmsandbox.cli.commands.pods.events import Known
from vmsandbox.model import ContainerEvent, ContainerEventKind


def test_events_name_pods_and_containers_also_removed_ones(vmsandbox):
    async def told(*events):
        from vmsandbox.cri.client import connected

        async with connected(vmsandbox.served.path) as client:
            known = Known(client)
            await known.look()
            vmsandbox.served.runtime.sandboxes.clear()
            vmsandbox.served.runtime.containers.clear()
            return [await known.entry(event) for event in events]

    pod = vmsandbox.pod("web")
    container = vmsandbox.container(pod, "server")
    stopped = ContainerEvent(container, pod, ContainerEventKind.STOPPED, 1)
    removed = ContainerEvent(container, container, ContainerEventKind.DELETED, 2)  # its sandbox is gone already
    pod_removed = ContainerEvent(pod, pod, ContainerEventKind.DELETED, 3)
    entries = vmsandbox.call(told(stopped, removed, pod_removed))
    assert [(one["type"], one["kind"], one["name"], one["pod"], one["namespace"]) for one in entries] == [
        ("STOPPED", "container", "server", "web", "default"),
        ("DELETED", "container", "server", "web", "default"),
        ("DELETED", "pod", "web", "web", "default"),
    ]


def test_an_event_of_something_unknown_has_its_id_alone():
    entry = event_entry(ContainerEvent("c1", "p1", ContainerEventKind.STARTED, 0), "", None)
    assert json.dumps(entry) == (
        '{"time": "1970-01-01T00:00:00.000000000Z", "type": "STARTED", "kind": "container", "id": "c1", "name": "", '
        '"pod": "", "namespace": "", "podId": "p1"}'
    )
