"""The kernel's AF_VSOCK, with Unix sockets in the kernel's place; a guest's own loopback shows the real one."""

import errno
import socket
from pathlib import Path

import pytest

from vmsandbox.errors import Unavailable
from vmsandbox.guest.transport.connection import TransportBroken
from vmsandbox.guest.transport.kernel_vsock import KernelVsock


class OverUnix(KernelVsock):
    """Dials `DIRECTORY/CID.PORT`."""

    def __init__(self, cid: int, directory: Path) -> None:
        super().__init__(cid)
        self._directory = directory

    def _socket(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        return sock

    def _address(self, port: int) -> str:
        return str(self._directory / f"{self.device.cid}.{port}")


async def test_a_dial_reaches_the_port_of_the_cid(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "7.1024"))
        listener.listen()
        reader, writer = await OverUnix(7, tmp_path).dial(1024)
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"hello")
            assert await reader.readexactly(5) == b"hello"
        writer.close()
        await writer.wait_closed()


async def test_a_dial_that_nobody_answers_can_be_repeated(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="CID 7, port 1024") as caught:
        await OverUnix(7, tmp_path).dial(1024)
    assert not isinstance(caught.value, TransportBroken)


@pytest.mark.parametrize(
    ("number", "meaning"),
    [
        (errno.ENODEV, "no running machine"),
        (errno.ECONNRESET, "nobody listens"),
        (errno.ETIMEDOUT, "does not answer"),
        (errno.EHOSTUNREACH, "No route"),
    ],
)
async def test_what_the_kernel_says_is_put_into_words(
    number: int, meaning: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = KernelVsock(7)

    def refuse() -> socket.socket:
        raise OSError(number, "No route to host")

    monkeypatch.setattr(transport, "_socket", refuse)
    with pytest.raises(Unavailable, match=meaning):
        await transport.dial(1024)


async def test_the_kernels_vsock_asks_for_no_socket() -> None:
    transport = KernelVsock(7)
    assert (transport.device.cid, transport.device.socket) == (7, None)
    assert await transport.diagnose() is None
