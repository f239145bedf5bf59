"""Client and server agree on a version, or the request is refused."""

import pytest

from vmsandbox.model import ExecRequest, PortForwardRequest
from vmsandbox.streaming.protocol.negotiation import agree_on_command, agree_on_ports
from vmsandbox.streaming.protocol.port_forward import Requested
from vmsandbox.streaming.protocol.upgrade import Refusal, UpgradeRequest
from vmsandbox.streaming.protocol.versions import SPDY_COMMANDS, WEBSOCKET_COMMANDS, choose


def test_the_first_version_of_the_clients_list_that_is_known_is_chosen() -> None:
    chosen = choose(["v9.channel.k8s.io", "v2.channel.k8s.io", "v4.channel.k8s.io"], SPDY_COMMANDS)
    assert chosen is not None
    assert chosen.name == "v2.channel.k8s.io"
    assert choose(["v9.channel.k8s.io"], SPDY_COMMANDS) is None
    nameless = choose([], WEBSOCKET_COMMANDS)
    assert nameless is not None
    assert nameless.name == ""


def test_no_common_version_is_refused_with_those_that_are_known() -> None:
    asked = UpgradeRequest("/exec/t", False, ("v9.channel.k8s.io",))
    with pytest.raises(Refusal) as caught:
        agree_on_command(asked, ExecRequest("c", ("true",), stdout=True))
    assert caught.value.status == 403
    assert ("X-Accepted-Stream-Protocol-Versions", "v4.channel.k8s.io") in caught.value.headers


def test_channels_of_ports_need_the_ports_named_before() -> None:
    asked = UpgradeRequest("/portforward/t", True, ("v4.channel.k8s.io",))
    with pytest.raises(Refusal) as caught:
        agree_on_ports(asked, PortForwardRequest("s"))
    assert caught.value.status == 400


@pytest.mark.parametrize(("version", "most"), [("v4.channel.k8s.io", 128), ("v4.base64.channel.k8s.io", 40)])
def test_more_ports_than_there_are_numbers_of_channels_are_refused(version: str, most: int) -> None:
    asked = UpgradeRequest("/portforward/t", True, (version,))
    _, protocol = agree_on_ports(asked, PortForwardRequest("s", (80,) * most))
    assert len([event for event in protocol.receive(b"") if isinstance(event, Requested)]) == most
    with pytest.raises(Refusal) as caught:
        agree_on_ports(asked, PortForwardRequest("s", (80,) * (most + 1)))
    assert caught.value.status == 400
