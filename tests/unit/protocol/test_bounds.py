"""Every number, text and collection of the protocol has bounds, on both ends; all that is within them can be told."""

import dataclasses
import json
import typing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.bounded import beyond, message_types, unbounded, within
from vmsandbox.cri.convert import to_cri, usage
from vmsandbox.cri.metrics.metric import MeasuredContainer
from vmsandbox.cri.metrics.to_cri import pod_metrics
from vmsandbox.errors import InvalidArgument
from vmsandbox.guest.session.requests import Requests
from vmsandbox.model import (
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    ContainerStatus,
    ContainerUsage,
    ContainerUser,
    PodSandboxConfig,
    PodSandboxMetadata,
    SandboxState,
    SandboxStatus,
)
from vmsandbox.protocol import messages as m
from vmsandbox.protocol.bounds import Document
from vmsandbox.protocol.codec import MalformedMessage, decode, encode, hints
from vmsandbox.protocol.framing import pack_json, parse_json

MESSAGES = message_types()
FIELDS = [
    pytest.param(kind, name, id=f"{kind.__name__}.{name}")
    for kind in MESSAGES
    for name, hint in hints(kind).items()
    if any(True for _ in beyond(hint))
]


@pytest.mark.parametrize("kind", MESSAGES)
def test_every_field_has_bounds(kind: type) -> None:
    assert {name: list(unbounded(hint)) for name, hint in hints(kind).items() if list(unbounded(hint))} == {}


def test_a_field_without_bounds_would_be_found() -> None:
    kinds = [int, float, str, typing.Any, tuple[bool, ...], dict[str, bool], int | None, tuple[m.Route, ...]]
    assert all(list(unbounded(kind)) for kind in kinds)
    assert len(MESSAGES) > 40


@given(st.data())
def test_what_is_within_the_bounds_crosses_the_wire(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(MESSAGES))
    message = data.draw(within(kind))
    assert decode(kind, parse_json(pack_json(encode(message))[4:])) == message


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_what_is_beyond_the_bounds_is_refused(kind: type, name: str) -> None:
    for bad in beyond(hints(kind)[name]):
        with pytest.raises(MalformedMessage, match=rf"{kind.__name__}.*\.{name}"):
            decode(kind, {name: bad})


@given(st.data())
async def test_a_request_beyond_its_bounds_is_not_sent(data: st.DataObject) -> None:
    port = data.draw(st.integers().filter(lambda number: not 1 <= number <= 65535))
    with pytest.raises(InvalidArgument, match="port: not within"):
        await Requests().add(m.OpenPort(port), 0)


def test_a_document_is_bounded_in_values_and_depth() -> None:
    bound = Document(values=4, depth=2)
    assert bound.holds([1, {"a": 2}])
    assert not bound.holds([1, 2, 3, 4])
    assert not bound.holds([[[1]]])
    assert not bound.holds([2**64])


def told(container: ContainerStatus) -> None:
    to_cri.container_item_to_cri(container)
    to_cri.container_status_to_cri(container, None)


@given(within(m.Exit), within(m.ProcessUser))
def test_every_end_and_every_user_can_be_told(end: m.Exit, user: m.ProcessUser) -> None:
    told(
        ContainerStatus(
            id=end.container_id,
            sandbox_id="sandbox",
            config=ContainerConfig(ContainerMetadata("c"), "image"),
            state=ContainerState.EXITED,
            created_at=1,
            image_id="image",
            image_ref="image",
            finished_at=end.at,
            exit_code=end.exit_code,
            user=ContainerUser(user.uid, user.gid, user.groups),
        )
    )


@given(within(m.Measured))
def test_all_that_is_measured_can_be_told(measured: m.Measured) -> None:
    container = ContainerStatus(
        "c", "sandbox", ContainerConfig(ContainerMetadata("c"), "image"), ContainerState.RUNNING, 1, "image", "image"
    )
    sandbox = SandboxStatus(
        "sandbox", PodSandboxConfig(PodSandboxMetadata("pod", "uid", "default")), SandboxState.READY, 1
    )
    used = [ContainerUsage(measured.at, measures) for measures in measured.containers]
    for each in used:
        usage.container_stats_to_cri(container, each, Path("/"))
    pod_metrics(sandbox, None, [MeasuredContainer(container, each) for each in used])


@given(within(m.HelloReply))
def test_what_an_agent_says_of_itself_is_text_for_people(reply: m.HelloReply) -> None:
    assert all(text.isprintable() for text in (reply.build, reply.boot_id, reply.kernel))
    assert json.dumps(dataclasses.asdict(reply), allow_nan=False)
