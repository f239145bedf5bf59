"""The dashboard and the alert rules: each query finds its metric, with its labels, in a daemon that has worked."""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import yaml
from cri_api.v1 import api_pb2 as api

from tests.fakes.host import FakeWorld, app
from tests.support.scraping import Samples
from tests.support.waiting import until
from tests.unit.exporters.conftest import daemon_of
from vmsandbox.errors import Unavailable
from vmsandbox.hypervisor import MachineState
from vmsandbox.model import SandboxState

EXAMPLES = Path(__file__).parents[3] / "examples" / "observability"
DASHBOARD: dict[str, Any] = json.loads((EXAMPLES / "dashboard.json").read_text())
RULES: list[dict[str, Any]] = yaml.safe_load((EXAMPLES / "alerts.yaml").read_text())["groups"][0]["rules"]
PAGE = (EXAMPLES.parents[1] / "docs" / "metrics.md").read_text()

OF_PROMETHEUS = {"instance", "job", "le"}
"""The labels that Prometheus adds, and that of buckets."""
FUNCTIONS = {"sum", "rate", "increase", "histogram_quantile", "by", "label_values"}

_TEXT = re.compile(r'"[^"]*"')
_SELECTOR = re.compile(r"([a-z_]+)\s*\{([^}]*)\}")
_GROUPS = re.compile(r"\bby\s*\(([^)]*)\)")
_WORD = re.compile(r"(?<![$.\w])[a-z_][a-z_0-9]*")


@dataclass(frozen=True)
class Query:
    place: str
    text: str

    def __str__(self) -> str:
        return self.place

    def metrics(self) -> Iterator[tuple[str, set[str]]]:
        """Each metric with the labels that the query selects by, or groups it by."""
        plain = _TEXT.sub('""', self.text)
        assert plain.count("(") == plain.count(")") and plain.count("{") == plain.count("}")
        groups = {label.strip() for found in _GROUPS.findall(plain) for label in found.split(",")}
        rest = _GROUPS.sub("", plain)
        selected = {name: set(re.findall(r"(\w+)\s*[=!]", labels)) for name, labels in _SELECTOR.findall(rest)}
        bare = re.sub(r"\[[^\]]*\]", "", _SELECTOR.sub("", rest))
        selected |= {word: set() for word in _WORD.findall(bare) if word not in FUNCTIONS | OF_PROMETHEUS}
        yield from ((name, labels | groups) for name, labels in selected.items())


QUERIES = [
    *(
        Query(f"panel {panel['title']}", target["expr"])
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ),
    *(Query(f"alert {rule['alert']}", rule["expr"]) for rule in RULES),
    *(
        Query(f"variable {each['name']}", each["query"]["query"])
        for each in DASHBOARD["templating"]["list"]
        if each["type"] == "query"
    ),
]


async def worked(world: FakeWorld) -> Samples:
    """Scrape a daemon that has seen everything once, good and bad."""
    async with daemon_of(world) as daemon:
        await daemon.run_pod("goes-on")
        sandbox = await daemon.run_pod("dies")
        container = await daemon.service.create_container(sandbox, app())
        await daemon.service.start_container(container)
        world.hypervisor.end(f"vmsandbox-{sandbox}", MachineState.CRASHED, "crashed (panicked)")
        await until(lambda: daemon.service.pod_sandbox_status(sandbox).state is SandboxState.NOTREADY)
    async with daemon_of(world) as daemon:
        await daemon.service.recovered()
        await daemon.service.create_container((await daemon.run_pod("new")), app())
        last = await daemon.run_pod("ends")
        await daemon.service.start_container(await daemon.service.create_container(last, app()))
        await daemon.service.stop_pod_sandbox(last)
        another = await daemon.run_pod("dies-too")
        world.hypervisor.end(f"vmsandbox-{another}", MachineState.CRASHED, "crashed (panicked)")
        await until(lambda: daemon.service.pod_sandbox_status(another).state is SandboxState.NOTREADY)
        with contextlib.suppress(grpc.aio.AioRpcError):
            await daemon.images.PullImage(api.PullImageRequest(image=api.ImageSpec(image="localhost/absent:1")))
        world.transports.start_error = Unavailable("there is no vsock daemon")
        with contextlib.suppress(grpc.aio.AioRpcError):
            await daemon.run_pod("fails")
        return await daemon.scraped()


def missing(query: Query, labels_of: dict[str, set[str]]) -> list[str]:
    found = []
    for name, labels in query.metrics():
        if name == "up":  # Prometheus' own.
            continue
        if name not in labels_of:
            found.append(f"{query}: there is no {name}")
        elif unknown := labels - labels_of[name] - OF_PROMETHEUS:
            found.append(f"{query}: {name} has no {', '.join(sorted(unknown))}")
    return found


async def test_every_query_finds_its_metric_with_its_labels(world: FakeWorld) -> None:
    labels_of: dict[str, set[str]] = {}
    for name, labels in await worked(world):
        labels_of.setdefault(name, set()).update(key for key, _ in labels)
    assert len(QUERIES) > 40
    assert [each for query in QUERIES for each in missing(query, labels_of)] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rate(vmsandbox_absent_total[5m])", "there is no vmsandbox_absent_total"),
        ('vmsandbox_sandboxes{pod="x"}', "vmsandbox_sandboxes has no pod"),
        ("sum by (pod) (vmsandbox_sandboxes)", "vmsandbox_sandboxes has no pod"),
        ("vmsandbox_sandboxes / vmsandbox_absent", "there is no vmsandbox_absent"),
    ],
)
def test_a_query_for_what_does_not_exist_is_found_out(text: str, said: str) -> None:
    assert missing(Query("q", text), {"vmsandbox_sandboxes": {"state"}}) == [f"q: {said}"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_is_on_the_page_that_says_what_to_do(rule: dict[str, Any]) -> None:
    assert f"| {rule['alert']} |" in PAGE
    assert rule["labels"]["severity"] in ("warning", "critical") and rule["annotations"]["summary"]


def test_panels_have_ids_of_their_own_and_queries() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel.get("targets") for panel in panels if panel["type"] != "row")
