"""Calls of our own on the CRI's socket: what they do, and what a runtime answers that does not have them."""

from dataclasses import replace

import grpc.aio
import pytest

from tests.support.cri import served
from tests.unit.cri.test_runtime import Urls
from vmsandbox.cri.additions import CALLS, SERVICE, SignalContainer, to_wire
from vmsandbox.cri.client import CriClient
from vmsandbox.errors import FailedPrecondition, InvalidArgument, NotFound, Unimplemented
from vmsandbox.model import DebugRequest


@pytest.fixture
async def cri(tmp_path):
    async with served(tmp_path) as it:
        yield it


async def test_a_signal_reaches_the_container_of_an_ids_beginning(cri):
    container = await cri.container(await cri.sandbox())
    await cri.client.signal_container(container[:12], "HUP")
    assert cri.runtime.calls[-1] == ("signal_container", container, "HUP")
    with pytest.raises(InvalidArgument, match="NOPE"):
        await cri.client.signal_container(container, "NOPE")
    with pytest.raises(NotFound):
        await cri.client.signal_container("nobody", "HUP")


async def test_a_pod_is_ended(cri):
    pod = await cri.sandbox()
    await cri.client.end_pod(pod, 2.5)
    assert ("end_pod", pod, 2.5) in cri.runtime.calls


async def test_a_console_is_read_from_a_position_on(cri):
    pod = await cri.sandbox()
    cri.runtime.consoles[pod] = b"Linux\x1b[6n\n\xff"
    assert await cri.client.read_console(pod[:10], 0) == ("Linux\x1b[6n\n\ufffd", 11)
    assert await cri.client.read_console(pod, 9) == ("\n\ufffd", 11)
    with pytest.raises(NotFound):
        await cri.client.read_console("nobody", 0)


async def test_the_streams_of_a_command_in_the_guest_itself_are_at_a_url(tmp_path):
    urls = Urls()
    async with served(tmp_path, urls) as cri:
        pod = await cri.sandbox()
        wanted = DebugRequest(pod, ("dmesg", "-T"), stdin=True, stdout=True, stderr=True)
        assert await cri.client.debug_url(replace(wanted, sandbox_id=pod[:10])) == "http://127.0.0.1:1/debug/token"
        assert urls.requests == [wanted]
        urls.error = FailedPrecondition("debugging is off", hint="set machine.debug to true")
        with pytest.raises(FailedPrecondition, match="debugging is off") as refused:
            await cri.client.debug_url(DebugRequest(pod))
        assert refused.value.hint == "set machine.debug to true"


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"container_id": 1, "signal": "HUP"}', b'{"more": 1}', b"\xff"])
async def test_a_request_that_is_not_one_is_refused(cri, data):
    async with grpc.aio.insecure_channel(f"unix:{cri.path}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(f"/{SERVICE}/SignalContainer")(data)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_an_older_runtime_does_not_have_them(tmp_path):
    server = grpc.aio.server()
    server.add_insecure_port(f"unix:{tmp_path}/old.sock")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/old.sock") as channel:
            with pytest.raises(Unimplemented):
                await CriClient(channel).signal_container("c", "HUP")
    finally:
        await server.stop(0)


def test_requests_are_routed_by_the_names_that_the_cri_has_for_ids():
    """A client of several runtimes (`cri.client.joined`) looks at these fields."""
    for request, _ in CALLS.values():
        assert {"container_id", "pod_sandbox_id"} & set(request.__slots__)
    assert to_wire(SignalContainer("c", "1")) == b'{"container_id": "c", "signal": "1"}'
