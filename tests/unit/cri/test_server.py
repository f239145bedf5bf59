"""The socket of the CRI server: its owner, and what happens when daemons and clients come and go."""

import asyncio
import contextlib
import os
import socket
import stat

import grpc
import grpc.aio
import pytest
from cri_api.v1 import api_pb2 as api
from cri_api.v1 import api_pb2_grpc

from tests.fakes.runtime import FakeImages, FakeRuntime
from tests.support.cri import served
from vmsandbox.cri import MESSAGE_LIMIT
from vmsandbox.cri.client import connected
from vmsandbox.cri.server import NodeInfo, serving
from vmsandbox.errors import Cancelled, FailedPrecondition, InvalidArgument, NotFound, Unavailable


async def always() -> None:
    pass


def server(tmp_path, path=None, **options):
    runtime = FakeRuntime(FakeImages(tmp_path))
    return serving(runtime, path or tmp_path / "cri.sock", NodeInfo(("",), always, tmp_path), grace=0, **options)


async def version(path):
    async with connected(path) as client:
        return await client.version()


async def test_the_socket_is_for_root_and_its_group_alone(tmp_path):
    async with server(tmp_path, group=os.getgid()):
        status = (tmp_path / "cri.sock").stat()
        assert stat.S_ISSOCK(status.st_mode)
        assert stat.S_IMODE(status.st_mode) == 0o660


async def test_the_directory_of_the_socket_is_made(tmp_path):
    async with server(tmp_path, tmp_path / "run/vmsandbox/cri.sock"):
        assert await version(tmp_path / "run/vmsandbox/cri.sock")


async def test_the_socket_goes_with_the_server(tmp_path):
    async with server(tmp_path):
        pass
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    with pytest.raises(Unavailable, match="no daemon serves"):
        await version(tmp_path / "cri.sock")


async def test_a_second_daemon_is_refused_and_the_first_goes_on(tmp_path):
    async with server(tmp_path):
        with pytest.raises(FailedPrecondition, match="another daemon serves"):
            async with server(tmp_path):
                pytest.fail("two daemons on one socket")
        assert await version(tmp_path / "cri.sock")


async def test_a_socket_that_another_program_listens_on_is_left_alone(tmp_path):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(os.fspath(tmp_path / "cri.sock"))
        other.listen()
        with pytest.raises(FailedPrecondition, match="another daemon serves"):
            async with server(tmp_path):
                pytest.fail("the socket of another program was taken")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.fspath(tmp_path / "cri.sock"))


async def test_a_call_has_undone_what_it_did_when_the_server_has_ended(tmp_path):
    async with served(tmp_path) as cri:
        cri.runtime.hang.add("run_pod_sandbox")
        cri.runtime.undoing = 0.3
        call = asyncio.ensure_future(cri.sandbox())
        await asyncio.wait_for(cri.runtime.begun.wait(), 5)
    assert cri.runtime.cancelled.is_set()
    await asyncio.wait([call])


async def test_the_socket_of_a_killed_daemon_is_replaced(tmp_path):
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(os.fspath(tmp_path / "cri.sock"))
    async with server(tmp_path):
        assert await version(tmp_path / "cri.sock")


async def test_a_file_that_is_not_a_socket_is_not_removed(tmp_path):
    (tmp_path / "cri.sock").write_text("precious")
    with pytest.raises(FailedPrecondition, match="is not a socket"):
        async with server(tmp_path):
            pytest.fail("a file was taken for a socket")
    assert (tmp_path / "cri.sock").read_text() == "precious"


async def test_a_path_too_long_for_a_socket_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="too long"):
        async with server(tmp_path, tmp_path / ("x" * 100)):
            pytest.fail("a socket has no such path")


async def test_calls_that_run_when_the_server_ends_are_cancelled(tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        async with served(tmp_path) as cri:
            client = await stack.enter_async_context(connected(cri.path))
            cri.runtime.hang.add("stop_pod_sandbox")
            call = asyncio.create_task(client.stop_pod_sandbox("x"))
            await cri.runtime.begun.wait()
        with pytest.raises((Unavailable, Cancelled)):
            await call
    assert cri.runtime.cancelled.is_set()


async def test_messages_up_to_the_kubelets_limit_pass_and_larger_ones_do_not(tmp_path):
    async with served(tmp_path) as cri:
        sandbox_id = await cri.sandbox("a", large="x" * (MESSAGE_LIMIT - 4096))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await cri.sandbox("b", large="x" * MESSAGE_LIMIT)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert list(cri.runtime.sandboxes) == [sandbox_id]


async def test_garbage_on_the_socket_harms_nobody(tmp_path):
    async with served(tmp_path) as cri:
        _, writer = await asyncio.open_unix_connection(cri.path)
        writer.write(b"GET / HTTP/1.1\r\n\r\n" + b"\xff" * 4096)
        await writer.drain()
        assert await cri.client.version()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_method_that_does_not_exist_is_unimplemented(tmp_path):
    async with served(tmp_path) as cri, grpc.aio.insecure_channel(f"unix:{cri.path}") as channel:
        call = channel.unary_unary("/runtime.v1.RuntimeService/StreamPodSandboxes")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("service", ["RuntimeService", "ImageService"])
def test_every_call_of_the_bindings_is_answered(service):
    """Every call of the bindings is overridden, so that a newer version cannot add one unnoticed."""
    from vmsandbox.cri.servicer.images import ImageServicer
    from vmsandbox.cri.servicer.runtime import RuntimeServicer

    ours = {"RuntimeService": RuntimeServicer, "ImageService": ImageServicer}[service]
    generated = getattr(api_pb2_grpc, f"{service}Servicer")
    for method in api.DESCRIPTOR.services_by_name[service].methods:
        assert getattr(ours, method.name) is not getattr(generated, method.name), method.name


async def test_the_client_raises_the_daemons_errors(tmp_path):
    async with served(tmp_path) as cri:
        with pytest.raises(NotFound, match="there is no sandbox nobody"):
            await cri.client.pod_sandbox_status("nobody")
