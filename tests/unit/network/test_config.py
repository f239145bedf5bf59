import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.config import BridgeConfig
from vmsandbox.errors import FailedPrecondition
from vmsandbox.network import config
from vmsandbox.network.config import NetworkList

BUILT_IN = NetworkList("builtin", "1.0.0", ({"type": "bridge"},), "built in")
LIST = {"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge"}, {"type": "portmap"}]}


def write(directory: Path, name: str, data: object) -> None:
    (directory / name).write_text(json.dumps(data))


def test_the_first_file_by_name_applies(tmp_path: Path) -> None:
    write(tmp_path, "20-b.conflist", {**LIST, "name": "second"})
    write(tmp_path, "10-a.conflist", {**LIST, "name": "first"})
    write(tmp_path, "00-notes.txt", "not a configuration")
    (tmp_path / "05-directory.conf").mkdir()
    assert config.load(tmp_path, BUILT_IN).name == "first"


def test_a_single_plugins_file_is_a_list_of_one(tmp_path: Path) -> None:
    write(tmp_path, "10.conf", {"cniVersion": "0.4.0", "name": "one", "type": "ptp", "mtu": 1400})
    network = config.load(tmp_path, BUILT_IN)
    assert (network.name, network.version, len(network.plugins)) == ("one", "0.4.0", 1)
    assert network.plugins[0]["mtu"] == 1400


def test_without_a_file_or_a_directory_the_built_in_network_applies(tmp_path: Path) -> None:
    assert config.load(tmp_path, BUILT_IN) is BUILT_IN
    assert config.load(tmp_path / "none", BUILT_IN) is BUILT_IN


def test_a_broken_first_file_is_an_error_and_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "10-broken.conflist").write_text("{")
    write(tmp_path, "20-good.conflist", LIST)
    with pytest.raises(FailedPrecondition, match=r"10-broken\.conflist"):
        config.load(tmp_path, BUILT_IN)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ([], "not a JSON object"),
        ({**LIST, "plugins": []}, "at least one plugin"),
        ({"cniVersion": "1.0.0", "name": "x"}, "at least one plugin"),
        ({**LIST, "plugins": [{"type": "bridge"}, {}]}, r"plugins\[1\]\.type"),
        ({**LIST, "plugins": [{"type": "../../bin/sh"}]}, r"plugins\[0\]\.type"),
        ({**LIST, "plugins": [{"type": "bridge", "capabilities": []}]}, "capabilities"),
        ({**LIST, "name": "a/b"}, "name"),
        ({**LIST, "cniVersion": "2.0.0"}, r"cniVersion 2\.0\.0"),
    ],
)
def test_a_faulty_list_is_refused_with_its_fault(data: object, fault: str) -> None:
    with pytest.raises(FailedPrecondition, match=fault) as raised:
        config.parse(json.dumps(data), "x.conflist")
    assert "x.conflist" in str(raised.value)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "capabilities"]), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["name", "plugins", "type", "cniVersion", "cniVersions"]), _json, max_size=2))
def test_a_list_with_anything_in_a_field_is_a_network_or_an_error(changes: dict[str, object]) -> None:
    try:
        network = config.parse(json.dumps({**LIST, **changes}), "x.conflist")
    except FailedPrecondition:
        return
    assert network.plugins and network.name and network.version in config.VERSIONS


def test_the_highest_version_that_both_speak_is_chosen() -> None:
    data = {**LIST, "cniVersions": ["0.4.0", "1.1.0", "9.0.0"]}
    assert config.parse(json.dumps(data), "x.conflist").version == "1.1.0"
    assert config.parse(json.dumps({"name": "old", "type": "x"}), "x.conf").version == "0.1.0"


def test_a_plugin_gets_name_version_and_the_result_before_it() -> None:
    network = NetworkList("pods", "1.0.0", ({"type": "bridge", "mtu": 9000},), "file")
    told = config.invocation(network, network.plugins[0], {"ips": []}, {})
    assert told == {"type": "bridge", "mtu": 9000, "name": "pods", "cniVersion": "1.0.0", "prevResult": {"ips": []}}
    assert "prevResult" not in config.invocation(network, network.plugins[0], None, {})


def test_capability_arguments_go_to_plugins_that_advertise_them_alone() -> None:
    plugins = (
        {"type": "bridge"},
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "off", "capabilities": {"portMappings": False}},
    )
    network = NetworkList("pods", "1.0.0", plugins, "file")
    arguments = {"portMappings": [{"hostPort": 80}], "bandwidth": {}}
    told = [config.invocation(network, plugin, None, arguments).get("runtimeConfig") for plugin in plugins]
    assert told == [None, {"portMappings": [{"hostPort": 80}]}, None]
    assert network.advertises("portMappings") and not network.advertises("bandwidth")


def test_the_built_in_network_is_a_dual_stack_bridge_with_host_ports() -> None:
    network = config.default_bridge(BridgeConfig("b0", "10.9.0.0/16", "fd00:9::/64"), Path("/leases"), True)
    bridge, portmap = network.plugins
    assert bridge == {
        "type": "bridge", "bridge": "b0", "isGateway": True, "ipMasq": True, "hairpinMode": True, "macspoofchk": True,
        "ipam": {
            "type": "host-local", "dataDir": "/leases",
            "ranges": [[{"subnet": "10.9.0.0/16"}], [{"subnet": "fd00:9::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        },
    }  # fmt: skip
    assert portmap == {"type": "portmap", "capabilities": {"portMappings": True}}
    assert config.parse(json.dumps({"cniVersion": "1.0.0", "name": "n", "plugins": list(network.plugins)}), "").plugins


@pytest.mark.parametrize(("subnet", "ipv6"), [("", True), ("fd00:9::/64", False)])
def test_the_built_in_network_does_without_ipv6(subnet: str, ipv6: bool) -> None:
    (bridge, _) = config.default_bridge(BridgeConfig(subnet_v6=subnet), Path("/leases"), ipv6).plugins
    assert bridge["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}]
    assert len(bridge["ipam"]["ranges"]) == 1
