import json
from pathlib import Path

import pytest

from tests.fakes.network import PLUGINS
from vmsandbox.errors import Unavailable
from vmsandbox.network import PodIdentity
from vmsandbox.network.attachment import CniAttachment
from vmsandbox.network.cni import Cni, findings
from vmsandbox.network.config import NetworkList
from vmsandbox.protocol.codec import JSON

CNI = Cni((PLUGINS,), 30)
FIRST = {"ips": [{"address": "10.0.0.2/24"}]}
SECOND = {"ips": [{"address": "10.0.0.3/24"}]}
FAILS = {"error": {"code": 100, "msg": "broken"}}


def attachment(log: Path, *scripts: JSON, version: str = "1.0.0", result: JSON = None) -> CniAttachment:
    common = {"type": "cni_plugin", "log": str(log), "capabilities": {"portMappings": True}}
    plugins = tuple({**common, "place": place, "script": script} for place, script in enumerate(scripts))
    network = NetworkList("pods", version, plugins, "file")
    pod = PodIdentity("id1", "default", "web", "uid-1")
    return CniAttachment(pod, network, "/run/netns/none", {"portMappings": [{"hostPort": 80}]}, result)


def calls(log: Path) -> list[JSON]:
    return [json.loads(line) for line in log.read_text().splitlines()]


async def test_add_calls_the_plugins_in_order_each_with_the_result_before_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    result = await CNI.add(attachment(log, {"ADD": {"result": FIRST}}, {}, {"ADD": {"result": SECOND}}))
    assert result == SECOND
    assert [call["input"]["place"] for call in calls(log)] == [0, 1, 2]
    assert [call["input"].get("prevResult") for call in calls(log)] == [None, FIRST, FIRST]


async def test_a_plugin_is_told_the_pod_and_the_capability_arguments(tmp_path: Path) -> None:
    log = tmp_path / "log"
    await CNI.add(attachment(log, {}))
    (call,) = calls(log)
    assert call["variables"] == {
        "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "id1", "CNI_NETNS": "/run/netns/none", "CNI_IFNAME": "eth0",
        "CNI_PATH": str(PLUGINS),
        "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;"
                    "K8S_POD_INFRA_CONTAINER_ID=id1;K8S_POD_UID=uid-1",
    }  # fmt: skip
    assert call["input"]["runtimeConfig"] == {"portMappings": [{"hostPort": 80}]}


async def test_add_stops_at_the_plugin_that_fails(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(Unavailable, match="broken"):
        await CNI.add(attachment(log, {}, {"ADD": FAILS}, {}))
    assert len(calls(log)) == 2


async def test_delete_calls_the_plugins_in_reverse_with_the_result_of_add(tmp_path: Path) -> None:
    log = tmp_path / "log"
    await CNI.delete(attachment(log, {}, {}, result=SECOND), "")
    assert [call["input"]["place"] for call in calls(log)] == [1, 0]
    assert [call["input"]["prevResult"] for call in calls(log)] == [SECOND, SECOND]
    assert {call["variables"]["CNI_NETNS"] for call in calls(log)} == {""}


async def test_before_0_4_0_delete_gives_no_result(tmp_path: Path) -> None:
    log = tmp_path / "log"
    await CNI.delete(attachment(log, {}, version="0.3.1", result=SECOND), "")
    assert "prevResult" not in calls(log)[0]["input"]


async def test_a_plugin_that_fails_on_delete_does_not_keep_the_others_from_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(Unavailable, match="broken"):
        await CNI.delete(attachment(log, {}, {"DEL": FAILS}, {}), "")
    assert [call["input"]["place"] for call in calls(log)] == [2, 1, 0]


async def test_check_reports_a_list_whose_plugins_speak_its_version(tmp_path: Path) -> None:
    network = attachment(tmp_path / "log", {}).network
    found = await findings(lambda: network, CNI)
    assert [(finding.ok, finding.hint) for finding in found] == [(True, ""), (True, "")]
    assert found[0].message == "pods are attached to network pods (CNI 1.0.0), file"


async def test_check_reports_a_version_that_a_plugin_does_not_speak(tmp_path: Path) -> None:
    network = attachment(tmp_path / "log", {}, version="0.2.0").network
    (_, finding) = await findings(lambda: network, CNI)
    assert not finding.ok and finding.hint == "set cniVersion to 1.1.0"


async def test_check_reports_a_missing_plugin_and_a_missing_ipam_plugin() -> None:
    plugins = ({"type": "absent", "ipam": {"type": "absent-ipam"}},)
    found = await findings(lambda: NetworkList("pods", "1.0.0", plugins, "file"), CNI)
    assert [finding.ok for finding in found] == [True, False, False]
    assert "absent-ipam" in found[2].message and found[2].hint


async def test_check_reports_a_plugin_that_says_it_is_not_ready(tmp_path: Path) -> None:
    not_ready = {"STATUS": {"error": {"code": 50, "msg": "the daemon is down"}}}
    network = attachment(tmp_path / "log", not_ready, version="1.1.0").network
    found = await findings(lambda: network, CNI)
    assert not found[-1].ok and "the daemon is down" in found[-1].message
