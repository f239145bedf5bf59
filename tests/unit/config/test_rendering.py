"""A configuration that is printed reads back as itself."""

import json

import yaml
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox import config
from vmsandbox.config import Config, as_document, as_yaml

FULL = """
log_level: debug
machine: {boot_deadline: 0.25, kernel_parameters: 'dyndbg="file a.c +p"', mitigations: "off", scratch_iops: 500}
handlers: {large: {memory: 4Gi, accelerator: tcg, mitigations: "off"}, "on": {}, "1": {vcpus: 2}}
limits: {memory: 10Gi}
images: {pinned: ["registry.k8s.io/pause:3.10", "1.5"], max_root_size: 2000001}
network: {default: {subnet_v6: ""}}
delegate: {socket: /run/containerd/containerd.sock, handlers: ["", runc], host_namespaces: []}
"""


def test_yaml_and_json_read_back_as_the_configuration() -> None:
    given = config.parse(FULL, "c.yaml")
    assert config.parse(as_yaml(given), "printed") == given
    assert config.parse(json.dumps(as_document(given)), "printed") == given


def test_a_comment_says_the_default_of_what_differs() -> None:
    printed = as_yaml(config.parse(FULL, "c.yaml")).splitlines()
    assert [line for line in printed if "#" in line] == [
        "log_level: debug # default: info",
        "  scratch_iops: 500 # default: null",
        "  boot_deadline: 0.25 # default: 60",
        '  mitigations: "off" # default: auto',
        '  kernel_parameters: "dyndbg=\\U00000022file a.c +p\\U00000022" # default: ""',
        "handlers: # default: {}",
        "  memory: 10Gi # default: null",
        "  max_root_size: 2000001 # default: 32Gi",
        '  pinned: ["registry.k8s.io/pause:3.10", "1.5"] # default: []',
        '    subnet_v6: "" # default: "fd76:6d73:616e:64::/64"',
        "  socket: /run/containerd/containerd.sock # default: null",
        '  handlers: ["", runc] # default: []',
        "  host_namespaces: [] # default: [network, pid, ipc]",
    ]
    assert '  "on": {}' in printed
    assert '  "1":' in printed and "    vcpus: 2" in printed


def test_the_defaults_have_no_comments_and_are_plain_yaml() -> None:
    assert "#" not in as_yaml(Config())
    assert yaml.safe_load(as_yaml(Config()))["machine"]["memory"] == "256Mi"


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.text(st.characters(codec="ascii"), max_size=8)
)
def test_any_text_reads_back_as_itself(group: str, level: str) -> None:
    given = Config(socket_group=group, log_level=level)
    read = yaml.safe_load(as_yaml(given))
    assert (read["socket_group"], read["log_level"]) == (group, level)


@given(st.integers(1 << 20, 1 << 50), st.floats(0.001, 1e9))
def test_any_number_reads_back_as_itself(size: int, seconds: float) -> None:
    given = config.parse(f"images: {{max_root_size: {size}, pull_timeout: {seconds!r}}}", "c.yaml")
    assert config.parse(as_yaml(given), "printed") == given
