"""The schema of messages changes only in ways that older and newer agents accept.

The golden file holds every field of every message.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.support.schema import Schema, assert_pinned, changed, new_fields, read, schema_of
from vmsandbox.protocol import messages as m
from vmsandbox.protocol.features import BEFORE_FEATURES, FEATURES, Since, features_of, needed

GOLDEN = Path(__file__).parents[1] / "golden/protocol-schema.json"


def now() -> Schema:
    kinds: dict[str, Any] = {kind.__name__: kind for kind in (m.Hello, m.HelloReply, m.HelloProof, m.Envelope)}
    kinds |= {f"request {method}": request for method, request in m.REQUESTS.items()}
    kinds |= {f"result of {method}": request.RESULT for method, request in m.REQUESTS.items()}
    kinds |= {f"event {name}": event for name, event in m.EVENTS.items()}
    return {place: told for name, kind in kinds.items() for place, told in schema_of(name, kind).items()}


def faults(before: Schema, after: Schema) -> list[str]:
    """Yield the messages that an end with `before` would refuse from one with `after`, or the other way round."""
    new = new_fields(before, after).items()
    return changed(before, after) + [
        f"{where} is new: it needs a default, and `Since` a feature, so that nobody is sent it who refuses it"
        for where, told in new
        if " = " not in told or "Since(" not in told
    ]


def test_nothing_that_crosses_vsock_has_changed_but_by_a_feature() -> None:
    assert faults(read(GOLDEN), now()) == [], "docs/protocol.md, What may change"
    assert_pinned(GOLDEN, now())


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("request exec.tty", "bool = true"),
        ("request exec.nice", "int"),
        ("request exec.nice", "int = 0"),
        ("event exit.core", "bool = false"),
    ],
)
def test_a_change_that_another_version_would_refuse_is_a_fault(where: str, told: str) -> None:
    (found,) = faults(now(), {**now(), where: told})
    assert found.startswith(where)


@pytest.mark.parametrize(
    ("where", "told"),
    [("request dance", "object"), ("request exec.nice", "int within Since(feature='nice') = 0")],
)
def test_a_method_or_a_field_of_a_feature_may_be_added(where: str, told: str) -> None:
    assert faults(now(), {**now(), where: told}) == []


def test_a_hello_has_these_fields_for_ever_since_old_agents_refuse_any_other() -> None:
    assert [field.name for field in fields(m.Hello)] == ["versions", "build", "acknowledged", "nonce"]


def test_the_features_of_fields_are_those_that_an_agent_names() -> None:
    marked = {told.partition("Since(feature='")[2].partition("'")[0] for told in now().values() if "Since(" in told}
    assert marked <= FEATURES
    assert set(BEFORE_FEATURES) == set(range(1, m.FEATURES_NAMED))
    assert set(features_of(m.REQUESTS)) == FEATURES | set(m.REQUESTS)


def test_a_request_needs_the_features_of_the_fields_that_it_sets() -> None:
    plain = m.CreateContainer("c1", "image", {}, devices=(m.GuestDevice("/dev/fuse", "/dev/fuse"),))
    disk = m.CreateContainer(
        "c1", "image", {}, devices=(m.GuestDevice("/dev/fuse"), m.GuestDevice("/dev/x", disk="d1"))
    )
    assert (needed(plain), needed(disk)) == (set(), {"block_devices"})
    assert Since("block_devices").holds("anything")
