"""The configuration file: its defaults, its errors."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox import config
from vmsandbox.config import AcceleratorChoice, Config
from vmsandbox.errors import InvalidArgument, NotFound

EXAMPLE = Path(__file__).parents[3] / "examples" / "config.yaml"


def test_the_example_shows_every_setting_with_its_default() -> None:
    assert config.load(EXAMPLE) == Config()
    keys = {line.strip("# ").partition(":")[0] for line in EXAMPLE.read_text().splitlines()}
    assert keys.issuperset(Config.__dataclass_fields__)


def test_an_empty_file_is_all_defaults() -> None:
    assert config.parse("# nothing\n", "c.yaml") == Config()


def test_settings_replace_defaults() -> None:
    read = config.parse("machine: {memory: 1Gi, accelerator: tcg}\nhandlers: {large: {vcpus: 4}}", "c.yaml")
    assert read.machine.memory == 1 << 30
    assert read.machine.accelerator is AcceleratorChoice.TCG
    assert read.handlers["large"].vcpus == 4
    assert read.handlers["large"].memory is None


def test_the_handler_vmsandbox_is_there_as_the_default_machine_or_as_it_is_configured() -> None:
    assert Config().machine_handlers == ("", "vmsandbox")
    assert Config().machine_of("vmsandbox") == Config().machine
    read = config.parse("handlers: {large: {}, vmsandbox: {vcpus: 3}}", "c.yaml")
    assert set(read.machine_handlers) == {"", "vmsandbox", "large"}
    assert read.machine_of("vmsandbox").vcpus == 3
    assert read.machine_of("").vcpus == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("machine:\n  vcpus: many", "c.yaml:2: machine.vcpus: expected an integer, not a string (many)"),
        ("machine:\n  memory: -1Gi", "c.yaml:2: machine.memory: a size is not negative"),
        ("machine: []", "c.yaml:1: machine: expected a mapping, not a list"),
        ("vsock: tcp", "c.yaml:1: vsock: 'tcp' is not one of 'auto', 'vsock', 'vhost-device-vsock'"),
        ("\nlog_level: loud", "log_level is one of"),
        ("socket: a\nsocket: b", "c.yaml:2: socket: this key is given twice"),
        ("socket: [", "c.yaml:1: "),
        ("machine: {vcpus: 0}", "at least one vCPU"),
        ("users: {count: 1}", "users: the range has at least 2 numbers"),
        ("users: {first: 2147483000, count: 1000}", "from 1 to 2147483647"),
        ("cgroup_parent: a/b", "without slashes"),
        ("machine: {vcpus: 241}", "at most 240"),
        ("machine: {memory: 8E}", "machine: memory and overhead are together at least 64Mi, and at most 4Pi"),
        ("machine: {memory: 0, overhead: 1}", "memory and overhead are together"),
        ("machine: {memory: 1e19}", "machine.memory: '1e19' is larger than any quantity"),
        ("handlers: {big: {scratch_size: 17Ti}}", "big: scratch_size is at least 16Mi, and at most 16Ti"),
        ("machine: {scratch_bandwidth: 1}", "machine: scratch_bandwidth is at least 1Mi"),
        ("machine: {scratch_iops: 1}", "machine: scratch_iops is at least 10"),
        ("machine: {mitigations: none}", "machine.mitigations: 'none' is not one of 'auto', 'off'"),
        ("machine: {scratch_size: 1}", "machine: scratch_size is at least 16Mi"),
        ("machine: {boot_deadline: 1.0e+400}", "machine: boot_deadline must be a number of seconds above 0"),
        ("images: {pull_timeout: -1}", "images: pull_timeout must be a number of seconds above 0"),
        ("network: {plugin_timeout: 0}", "network: plugin_timeout must be a number of seconds above 0"),
        ("limits: {parallel_boots: -1}", "limits: parallel_boots is at least 1"),
        ("limits: {memory: -1}", "limits.memory: a size is not negative"),
        ("streaming: {tls_key: /k}", "tls_certificate and tls_key go together"),
        ("delegate: {handlers: [runc]}", "delegate: handlers need delegate.socket"),
        ("handlers: {big: {}}\ndelegate: {socket: /s, handlers: [big]}", "pods of the handler big are machines"),
        ("delegate: {socket: /s, handlers: [vmsandbox]}", "pods of the handler vmsandbox are machines"),
        ("delegate: {host_namespaces: [mount]}", "'mount' is not one of 'network', 'pid', 'ipc'"),
        ("libvirt: a\n---\nlibvirt: b", "c.yaml:3: a configuration file is a single YAML document"),
    ],
)
def test_what_is_wrong_is_said_with_line_and_field(text: str, said: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        config.parse(text, "c.yaml")
    assert said in str(raised.value)


def test_an_unknown_key_is_an_error_that_names_the_one_that_was_meant() -> None:
    with pytest.raises(InvalidArgument) as raised:
        config.parse("network:\n  plugin_timeouts: 3", "c.yaml")
    assert str(raised.value) == "c.yaml:2: network.plugin_timeouts: there is no such field"
    assert raised.value.hint == "did you mean plugin_timeout?"


def test_a_file_that_was_named_has_to_exist(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        config.load(tmp_path / "absent.yaml")


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_a_clear_error(text: str) -> None:
    try:
        config.parse(text, "c.yaml")
    except InvalidArgument as error:
        assert str(error).startswith("c.yaml:")
