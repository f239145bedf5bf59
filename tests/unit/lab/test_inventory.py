"""The fields of an inventory, and the places of its errors."""

from pathlib import Path

import pytest

from vmsandbox.errors import FailedPrecondition, InvalidArgument, Mistakes, NotFound
from vmsandbox.lab import Hop, HostKeys, Inventory, LabHost, Reach, load, parse

HOME = Path("~").expanduser()


def read(text: str) -> Inventory:
    return parse(text, "lab.yaml", Path("/lab"))


def test_a_host_needs_an_address_and_has_the_defaults() -> None:
    assert read("hosts: {alpha: {address: 192.0.2.1}}") == Inventory(
        (LabHost(Hop("alpha", "192.0.2.1", 22, "root", None), None, False, "/opt/vmsandbox-lab", ("make", "setup")),),
        Reach(HOME / ".ssh/known_hosts", HostKeys.STRICT, 10, 30),
    )


def test_a_host_s_own_setting_goes_before_the_default() -> None:
    text = """
    known_hosts: known
    host_keys: accept-new
    connect_timeout: 3
    silence_timeout: 4.5
    defaults: {port: 2222, user: lab, key: keys/lab, jump: gate, sudo: true, directory: /srv/lab, setup: [make, venv]}
    jump_hosts: {gate: {address: gate.example, user: jumper}}
    hosts:
      alpha: {address: 192.0.2.1}
      beta: {address: b, port: 22, user: root, key: ~/k, jump: "", sudo: false, directory: /opt/b, setup: ["true"]}
    """
    gate = Hop("gate", "gate.example", 2222, "jumper", Path("/lab/keys/lab"))
    alpha = Hop("alpha", "192.0.2.1", 2222, "lab", Path("/lab/keys/lab"))
    beta = Hop("beta", "b", 22, "root", HOME / "k")
    assert read(text) == Inventory(
        (
            LabHost(alpha, gate, True, "/srv/lab", ("make", "venv")),
            LabHost(beta, None, False, "/opt/b", ("true",)),
        ),
        Reach(Path("/lab/known"), HostKeys.ACCEPT_NEW, 3, 4.5),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lab.yaml: an inventory is a single document"),
        ("hosts: {}", "lab.yaml:1: hosts: there is no host"),
        ("hosts: {a: {}}", "lab.yaml:1: hosts.a.address: this field is required"),
        ("hosts:\n  a: {address: x,\n    prt: 1}", "lab.yaml:3: hosts.a.prt: there is no such field"),
        ("hosts:\n  a: {address: x,\n    port: ssh}", "lab.yaml:3: hosts.a.port: expected an integer"),
        ("hosts:\n  a: {address: x, port: 70000}", "lab.yaml:2: hosts.a.port: a port is a number from 1 to 65535"),
        ("hosts: {a: {address: -oProxyCommand=x}}", "lab.yaml:1: hosts.a.address: this is a host name"),
        ("hosts:\n  a: {address: x, jump: gate}", "lab.yaml:2: hosts.a.jump: jump_hosts has no gate"),
        ("hosts: {../a: {address: x}}", "a host's name has letters"),
        ("hosts: {a: {address: x, directory: /opt}}", "lab.yaml:1: hosts.a.directory: this is an absolute path below"),
        ("hosts: {a: {address: x, directory: opt/lab}}", "hosts.a.directory: this is an absolute path below"),
        ("hosts: {a: {address: x, directory: /opt/x/../..}}", "hosts.a.directory: this is an absolute path below"),
        ("hosts: {a: {address: x, setup: make setup}}", "hosts.a.setup: expected a list"),
        ("hosts: {a: {address: x, setup: []}}", "hosts.a.setup: this is a command"),
        ("hosts: {a: {address: x, password: x}}", "hosts.a.password: there is no such field"),
        ("host_keys: no\nhosts: {a: {address: x}}", "lab.yaml:1: host_keys: expected a string"),
        ("host_keys: ignore\nhosts: {a: {address: x}}", "'ignore' is not one of 'strict', 'accept-new'"),
        ("connect_timeout: 0\nhosts: {a: {address: x}}", "lab.yaml:1: connect_timeout: this must be a number"),
        ("silence_timeout: .inf\nhosts: {a: {address: x}}", "silence_timeout"),
    ],
)
def test_an_error_names_file_line_and_field(text: str, said: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        read(text)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hosts:\n  a: {address: x, prt: 1}\n  b: {}", ["lab.yaml:2: hosts.a.prt", "lab.yaml:3: hosts.b.address"]),
        (
            "connect_timeout: 0\nhosts:\n  a: {address: x, port: 0}\n  b: {address: x, setup: []}",
            ["lab.yaml:1: connect_timeout", "lab.yaml:3: hosts.a.port", "lab.yaml:4: hosts.b.setup"],
        ),
    ],
)
def test_all_mistakes_are_told_at_once(text: str, said: list[str]) -> None:
    with pytest.raises(Mistakes) as raised:
        read(text)
    assert [str(error).rpartition(": ")[0] for error in raised.value.errors] == said


def test_hosts_are_chosen_by_name_and_an_unknown_name_is_an_error() -> None:
    inventory = read("hosts: {alpha: {address: x}, beta: {address: y}}")
    assert [host.name for host in inventory.chosen(())] == ["alpha", "beta"]
    assert [host.name for host in inventory.chosen(("beta", "beta"))] == ["beta"]
    with pytest.raises(NotFound, match="no host gamma"):
        inventory.chosen(("gamma",))


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no inventory"):
        load(tmp_path / "lab.yaml")
    with pytest.raises(FailedPrecondition, match="not a regular file"):
        load(tmp_path)
