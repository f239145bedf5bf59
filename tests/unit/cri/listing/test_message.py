"""Messages are read as protobuf reads them."""

from dataclasses import replace

import pytest
from cri_api.v1 import api_pb2 as api
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vmsandbox.cri.convert import (
    container_item_from_cri,
    image_from_cri,
    sandbox_item_from_cri,
    sandbox_status_from_cri,
)
from vmsandbox.cri.listing import Unusual
from vmsandbox.cri.listing.listing import container_item, image, sandbox_item, sandbox_status
from vmsandbox.cri.listing.message import Message

USUAL = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TEXTS = st.text(max_size=30)
PAIRS = st.dictionaries(TEXTS, TEXTS, max_size=3)
MOMENTS = st.integers(0, 2**63 - 1)
COUNTS = st.integers(0, 2**32 - 1)
POD_METADATA = st.builds(api.PodSandboxMetadata, name=TEXTS, uid=TEXTS, namespace=TEXTS, attempt=COUNTS)
PODS = st.builds(
    api.PodSandbox, id=TEXTS, metadata=POD_METADATA, state=st.sampled_from([0, 1]), created_at=MOMENTS, labels=PAIRS,
    annotations=PAIRS, runtime_handler=TEXTS,
)  # fmt: skip
ADDRESSES = st.lists(TEXTS.filter(bool).map(lambda text: api.PodIP(ip=text)), max_size=3)
NETWORKS = st.builds(api.PodSandboxNetworkStatus, ip=TEXTS, additional_ips=ADDRESSES)
POD_STATUSES = st.builds(
    api.PodSandboxStatus, id=TEXTS, metadata=POD_METADATA, state=st.sampled_from([0, 1]), created_at=MOMENTS,
    network=NETWORKS, labels=PAIRS, annotations=PAIRS, runtime_handler=TEXTS,
)  # fmt: skip
IMAGE_SPECS = st.builds(api.ImageSpec, image=TEXTS, annotations=PAIRS, user_specified_image=TEXTS)
CONTAINER_METADATA = st.builds(api.ContainerMetadata, name=TEXTS, attempt=COUNTS)
CONTAINERS = st.builds(
    api.Container, id=TEXTS, pod_sandbox_id=TEXTS, metadata=CONTAINER_METADATA, image=IMAGE_SPECS, image_ref=TEXTS,
    state=st.sampled_from([0, 1, 2, 3]), created_at=MOMENTS, labels=PAIRS, annotations=PAIRS, image_id=TEXTS,
)  # fmt: skip
UIDS = st.none() | st.builds(api.Int64Value, value=MOMENTS)
IMAGES = st.builds(
    api.Image, id=TEXTS, repo_tags=st.lists(TEXTS, max_size=3), repo_digests=st.lists(TEXTS, max_size=3), uid=UIDS,
    size=st.integers(0, 2**64 - 1), username=TEXTS, spec=IMAGE_SPECS, pinned=st.booleans(),
)  # fmt: skip


@USUAL
@given(PODS)
def test_a_sandbox_of_a_list(wire):
    assert sandbox_item(Message(wire.SerializeToString())) == sandbox_item_from_cri(wire)


@USUAL
@given(POD_STATUSES)
def test_a_sandbox_with_its_addresses(wire):
    read, expected = sandbox_status(Message(wire.SerializeToString())), sandbox_status_from_cri(wire)
    assert read == replace(expected, config=replace(expected.config, namespaces=read.config.namespaces))


@USUAL
@given(CONTAINERS)
def test_a_container_of_a_list(wire):
    assert container_item(Message(wire.SerializeToString())) == container_item_from_cri(wire)


@USUAL
@given(IMAGES)
def test_an_image_of_a_list(wire):
    assert image(Message(wire.SerializeToString())) == image_from_cri(wire)


@pytest.mark.parametrize(("read", "kind"), [(sandbox_item, api.PodSandbox), (container_item, api.Container)])
def test_a_state_that_is_not_known_is_unusual(read, kind):
    with pytest.raises(Unusual):
        read(Message(kind(state=7).SerializeToString()))


@USUAL
@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_unusual(data):
    try:
        sandbox_status(Message(data))
    except Unusual:
        return


def test_fields_of_other_kinds_are_passed_over():
    fixed = b"\x29" + bytes(8) + b"\x2d" + bytes(4)  # fields 5, 64 and 32 bits wide
    assert Message(fixed + api.PodIP(ip="10.0.0.1").SerializeToString()).text(1) == "10.0.0.1"
