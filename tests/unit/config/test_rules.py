"""The rules of single values."""

from pathlib import Path
from typing import Any

import pytest

from vmsandbox.config import rules
from vmsandbox.typed_yaml import Check


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        (rules.absolute, [Path("/"), Path("/a b/c")]),
        (rules.socket_path, [Path("/" + "x" * 106)]),
        (rules.address, ["127.0.0.1", "0.0.0.0", "::", "fe80::1%eth0"]),
        (rules.subnet_v4, ["10.105.0.0/16", "192.168.1.8/29"]),
        (rules.subnet_v6, ["", "fd76:6d73:616e:64::/64", "fd00::/120"]),
        (rules.interface, ["vmsandbox0", "br-1.2", "a" * 15]),
        (rules.account, ["kvm", "vmsandbox-images", "_x", "a", "host$"]),
        (rules.account_or_none, ["", "k8s"]),
        (rules.listening, ["127.0.0.1:9464", "0.0.0.0:1", "[::1]:65535"]),
        (rules.endpoint, ["127.0.0.1:4317", "collector.example:4317", "[fd00::1]:4317"]),
        (rules.handler, ["large", "a", "1-2", "x" * 63]),
        (rules.handler_or_none, ["", "runc"]),
        (rules.cgroup, ["", "vmsandbox", "vmsandbox.slice"]),
        (rules.kernel_parameters, ["", 'loglevel=7 dyndbg="file a +p"']),
        (
            rules.libvirt_uri,
            [
                "auto",
                "qemu:///system",
                "qemu+unix:///system?socket=/run/x",
                "qemu:///embed?root=/run/vmsandbox/libvirt",
            ],
        ),
        (rules.seconds, [0.1, 3600]),
    ],
)
def test_a_value_that_can_be_used_breaks_no_rule(rule: Check, values: list[Any]) -> None:
    assert [rule(value) for value in values] == [""] * len(values)


@pytest.mark.parametrize(
    ("rule", "value", "said"),
    [
        (rules.absolute, Path("rel/x"), "'rel/x' is not an absolute path"),
        (rules.absolute, Path("/a\0b"), "a path has no NUL character"),
        (rules.absolute, Path(), "'.' is not an absolute path"),
        (rules.socket_path, Path("/" + "x" * 107), "it has 108 bytes, and a socket's path at most 107"),
        (rules.address, "localhost", "'localhost' is not an IP address"),
        (rules.address, "", "'' is not an IP address"),
        (rules.listening, "localhost:9464", "'localhost:9464' is not an IP address and a port, such as 127.0.0.1:9464"),
        (rules.listening, "::1:9464", "'::1:9464' is not an IP address and a port"),
        (rules.listening, "127.0.0.1", "'127.0.0.1' is not an IP address and a port"),
        (rules.listening, "127.0.0.1:0", "'0' is not a port: a number from 1 to 65535"),
        (rules.listening, "127.0.0.1:65536", "'65536' is not a port"),
        (rules.endpoint, "http://collector:4317", "'http://collector:4317' is not a host and a port"),
        (rules.endpoint, "collector:otlp", "'otlp' is not a port"),
        (rules.subnet_v4, "10.0.0.0", "10.0.0.0 has no room for pods: the prefix is at most /29"),
        (rules.subnet_v4, "10.0.0.0/30", "10.0.0.0/30 has no room for pods"),
        (rules.subnet_v4, "10.0.0.1/24", "10.0.0.1/24 is an address within a range: the range is 10.0.0.0/24"),
        (rules.subnet_v4, "", "'' is not a range of addresses"),
        (rules.subnet_v4, "fd00::/64", "'fd00::/64' is not a range of addresses, such as 10.105.0.0/16"),
        (rules.subnet_v6, "10.0.0.0/16", "'10.0.0.0/16' is not a range of addresses, such as fd76"),
        (rules.subnet_v6, "fd00::1/64", "fd00::1/64 is an address within a range: the range is fd00::/64"),
        (rules.interface, "", "'' is not the name of a network interface"),
        (rules.interface, "a" * 16, "it has 1 to 15 bytes"),
        (rules.interface, "a/b", "it has no blanks, slashes and colons"),
        (rules.interface, "a:b", "it has no blanks, slashes and colons"),
        (rules.account, "", "'' is not the name of a user or a group"),
        (rules.account, "a b", "'a b' is not the name of a user or a group"),
        (rules.account, "x" * 33, "is not the name of a user or a group"),
        (rules.account_or_none, "a:b", "'a:b' is not the name"),
        (rules.handler, "-a", "'-a' is not a RuntimeClass handler"),
        (rules.handler, "", "'' is not a RuntimeClass handler"),
        (rules.handler, "x" * 64, "at most 63 lower case letters"),
        (rules.handler_or_none, "Runc", "'Runc' is not a RuntimeClass handler"),
        (rules.cgroup, "a/b", "without slashes"),
        (rules.cgroup, "..", "'..' is not the name of a cgroup"),
        (rules.cgroup, "a\nb", "is not the name of a cgroup"),
        (rules.kernel_parameters, "a\nb", "printable ASCII characters only"),
        (rules.kernel_parameters, 'a="b', "a quotation mark is not closed"),
        (rules.kernel_parameters, "x" * 1025, "1025 characters are too many"),
        (rules.libvirt_uri, "qemu+ssh://host/system", "is not a libvirt of this host"),
        (rules.libvirt_uri, "qemu:///embed?root=relative", "is not a libvirt of this host"),
        (rules.libvirt_uri, "", "'' is not a libvirt of this host"),
        (rules.seconds, float("inf"), "inf is not a number of seconds above 0"),
        (rules.seconds, float("nan"), "nan is not a number of seconds above 0"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_with_the_reason(rule: Check, value: Any, said: str) -> None:
    assert said in rule(value)


@pytest.mark.parametrize(
    ("size", "written"), [(0, "0"), (1023, "1023"), (1024, "1Ki"), (384 << 20, "384Mi"), (1 << 60, "1Ei")]
)
def test_a_size_is_written_as_a_quantity(size: int, written: str) -> None:
    assert rules.quantity(size) == written
