"""The annotations of containerd, CRI-O and podman."""

import pytest

from vmsandbox.errors import InvalidArgument
from vmsandbox.model import Resources
from vmsandbox.oci.membership import Membership, membership


def test_containerd_names_the_sandbox_in_every_container_and_the_limits_of_the_pod_in_the_sandbox() -> None:
    said = {
        "io.kubernetes.cri.container-type": "sandbox",
        "io.kubernetes.cri.sandbox-id": "s1",
        "io.kubernetes.cri.sandbox-memory": "1048576",
        "io.kubernetes.cri.sandbox-cpu-quota": "50000",
        "io.kubernetes.cri.sandbox-cpu-period": "100000",
        "io.kubernetes.cri.sandbox-cpu-shares": "512",
    }
    limits = Resources(memory_limit=1 << 20, cpu_quota=50000, cpu_period=100000, cpu_shares=512)
    assert membership("s1", said) == Membership("s1", is_sandbox=True, declared=limits)
    said["io.kubernetes.cri.container-type"] = "container"
    assert membership("c1", said) == Membership("s1", needs_sandbox=True, declared=Resources())


def test_cri_o_and_podman_name_the_sandbox_that_may_not_be_a_container() -> None:
    said = {"io.kubernetes.cri-o.ContainerType": "container", "io.kubernetes.cri-o.SandboxID": "s1"}
    assert membership("c1", said) == Membership("s1", declared=Resources())
    assert membership("s1", said | {"io.kubernetes.cri-o.ContainerType": "sandbox"}).is_sandbox


def test_a_container_without_annotations_belongs_to_no_pod_and_may_name_a_handler() -> None:
    assert membership("c1", {"org.example": "1"}) == Membership()
    assert membership("c1", {"vmsandbox/handler": "small"}) == Membership(handler="small")


@pytest.mark.parametrize(
    "broken",
    [
        {"io.kubernetes.cri.container-type": "pod", "io.kubernetes.cri.sandbox-id": "s1"},
        {"io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-memory": "much"},
    ],
)
def test_annotations_that_mean_nothing_are_an_error(broken: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match="annotation"):
        membership("c1", broken)
