"""The hostname of a pod."""

import pytest

from vmsandbox.errors import InvalidArgument
from vmsandbox.model import PodSandboxConfig, PodSandboxMetadata
from vmsandbox.sandbox.spec.machine_spec import hostname_of
from vmsandbox.sandbox.spec.rules import check_pod


def config(name: str, hostname: str = "") -> PodSandboxConfig:
    return PodSandboxConfig(PodSandboxMetadata(name, "uid", "default"), hostname=hostname)


@pytest.mark.parametrize(
    ("name", "hostname", "expected"),
    [
        ("web", "", "web"),
        ("web", "other", "other"),
        ("x" * 80, "", "x" * 63),
        ("x" * 62 + "-y", "", "x" * 62),
    ],
)
def test_a_pod_without_a_hostname_has_its_name_as_far_as_it_fits(name, hostname, expected):
    assert hostname_of(config(name, hostname)) == expected


def test_a_hostname_that_does_not_fit_is_refused():
    check_pod(config("web", "x" * 63))
    with pytest.raises(InvalidArgument, match="at most 63"):
        check_pod(config("web", "x" * 64))
