"""The configuration file: its defaults, its errors."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox import config
from vmsandbox.config import AcceleratorChoice, Config, StreamingConfig
from vmsandbox.errors import InvalidArgument, Mistakes, NotFound

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
        ("\nlog_level: loud", "c.yaml:2: log_level: 'loud' is not one of 'debug', 'info', 'warning', 'error'"),
        ("log_format: xml", "c.yaml:1: log_format: 'xml' is not one of 'text', 'json'"),
        ("socket: a\nsocket: b", "c.yaml:2: socket: this key is given twice"),
        ("socket: [", "c.yaml:1: "),
        ("machine: {vcpus: 0}", "machine.vcpus: 0 is not a number from 1 to 240"),
        ("machine: {vcpus: 241}", "machine.vcpus: 241 is not a number from 1 to 240"),
        ("machine: {memory: 8E}", "machine.memory: 7629394531250Mi is too large: it is at most 4Pi"),
        ("machine:\n  overhead: 1\n  memory: 0", "c.yaml:3: machine.memory: memory and overhead are together at least"),
        ("machine:\n  memory: 4Pi", "c.yaml:2: machine.memory: memory and overhead are together at least 64Mi"),
        ("machine: {memory: 1e19}", "machine.memory: '1e19' is larger than any quantity"),
        ("handlers:\n  big: {scratch_size: 17Ti}", "c.yaml:2: handlers.big.scratch_size: 17Ti is too large"),
        ("handlers:\n  big:\n    memory: 0\n    overhead: 0", "c.yaml:3: handlers.big.memory: memory and overhead"),
        ("handlers:\n  A: {}", "c.yaml:2: handlers.A: 'A' is not a RuntimeClass handler"),
        ("machine: {scratch_bandwidth: 1}", "machine.scratch_bandwidth: 1 is too small: it is at least 1Mi"),
        ("machine: {scratch_iops: 1}", "machine.scratch_iops: 1 is not a number from 10 to"),
        ("machine: {mitigations: none}", "machine.mitigations: 'none' is not one of 'auto', 'off'"),
        ("machine: {scratch_size: 1}", "machine.scratch_size: 1 is too small: it is at least 16Mi"),
        ("machine: {boot_deadline: 1.0e+400}", "machine.boot_deadline: inf is not a number of seconds above 0"),
        ("images: {pull_timeout: -1}", "images.pull_timeout: -1 is not a number of seconds above 0"),
        ("network: {plugin_timeout: 0}", "network.plugin_timeout: 0 is not a number of seconds above 0"),
        ("network: {plugin_directories: [/a, b]}", "network.plugin_directories[1]: 'b' is not an absolute path"),
        ("limits: {parallel_boots: -1}", "limits.parallel_boots: -1 is not a number from 1 to 1024"),
        ("limits: {memory: -1}", "limits.memory: a size is not negative"),
        (
            "limits: {memory: 300Mi}",
            "limits.memory: 300Mi is less than a machine takes, which is 384Mi",
        ),
        (
            "limits: {memory: 1Gi}\nhandlers: {big: {memory: 1Gi}}",
            "limits.memory: 1Gi is less than a machine of big takes, which is 1152Mi",
        ),
        ("machine: {vcpus: 4, max_vcpus: 3}", "machine.max_vcpus: 3 is less than vcpus, which is 4"),
        (
            "machine: {max_memory: 256Mi}",
            "machine.max_memory: 256Mi is less than a machine without limits takes, which is 384Mi",
        ),
        (
            "machine: {max_memory: 512Mi}\nhandlers: {big: {boot_memory: 1Gi}}",
            "handlers.big.max_memory: 512Mi is less than a machine without limits takes, which is 1Gi",
        ),
        ("machine: {boot_memory: 32Mi}", "machine.boot_memory: 32Mi is too small: it is at least 64Mi"),
        ("users: {count: 1}", "users.count: 1 is not a number from 2 to"),
        ("users: {first: 2147483000, count: 1000}", "users: the last user would be 2147483999, and the largest"),
        ("streaming: {tls_key: /k}", "streaming.tls_certificate: tls_certificate and tls_key go together"),
        ("streaming:\n  tls_certificate: /k", "streaming.tls_key: tls_certificate and tls_key go together"),
        ("delegate: {handlers: [runc]}", "delegate.socket: handlers need it: the socket of the other runtime"),
        ("handlers: {big: {}}\ndelegate: {socket: /s, handlers: [big]}", "pods of the handler big are machines"),
        ("delegate: {socket: /s, handlers: [vmsandbox]}", "pods of the handler vmsandbox are machines"),
        ("delegate: {host_namespaces: [mount]}", "'mount' is not one of 'network', 'pid', 'ipc'"),
        ("libvirt: auto\n---\nlibvirt: auto", "c.yaml:3: a configuration file is a single YAML document"),
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


def test_all_mistakes_are_told_in_the_order_of_the_file() -> None:
    text = (
        "streaming: {port: 99999}\nhandlers: {A: {}}\nlimits: {memory: 10}\nsockte: /s\nnetwork: {config_directory: x}"
    )
    with pytest.raises(Mistakes) as raised:
        config.parse(text, "c.yaml")
    assert raised.value.report().splitlines() == [
        "5 mistakes:",
        "  c.yaml:1: streaming.port: 99999 is not a port: a number from 0 to 65535",
        "  c.yaml:2: handlers.A: 'A' is not a RuntimeClass handler: at most 63 lower case letters, digits and '-', "
        "with a letter or a digit at both ends",
        "  c.yaml:3: limits.memory: 10 is too small: it is at least 64Mi",
        "  c.yaml:4: sockte: there is no such field (did you mean socket?)",
        "  c.yaml:5: network.config_directory: 'x' is not an absolute path",
    ]


def test_a_setting_that_is_wrong_by_itself_is_not_also_told_to_contradict_another() -> None:
    with pytest.raises(InvalidArgument) as raised:
        config.parse("streaming: {tls_key: /k, tls_certificate: c}\ndelegate: {socket: s, handlers: [runc]}", "c.yaml")
    assert isinstance(raised.value, Mistakes)
    assert [error.field for error in raised.value.errors] == ["streaming.tls_certificate", "delegate.socket"]


def test_a_file_with_mistakes_knows_where_its_settings_stand(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("log_level: 1\nstreaming:\n  port: 70000\n  address: ::1\n")
    file = config.read_file(tmp_path / "c.yaml")
    assert len(file.mistakes) == 2
    assert file.config.streaming == StreamingConfig(address="::1")
    at = file.at("streaming.address")
    assert at is not None and at.line == 4
    assert file.at("streaming.tls_key") is None


def test_a_file_that_was_named_has_to_exist(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        config.load(tmp_path / "absent.yaml")


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_a_clear_error(text: str) -> None:
    try:
        config.parse(text, "c.yaml")
    except InvalidArgument as error:
        assert str(error).startswith("c.yaml:") or isinstance(error, Mistakes)
