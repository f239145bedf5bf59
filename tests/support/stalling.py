"""A TCP proxy that lets so many bytes of answers through, and then waits: a network that hangs at a known place."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class StallingProxy:
    """The proxy: `stalled` is set once the allowance is used up, `go_on` lets the rest through."""

    upstream: str
    allowance: int
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    stalled: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                host, port = self.upstream.split(":")
                server = socket.create_connection((host, int(port)))
                self.sockets += [client, server]
                threading.Thread(target=self._relay, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._relay, args=(server, client, True), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                if counted:
                    self._spend(len(data))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def _spend(self, size: int) -> None:
        self.allowance -= size
        if self.allowance < 0:
            self.stalled.set()
            self.go_on.wait()


@contextlib.contextmanager
def stalling(upstream: str, allowance: int) -> Iterator[StallingProxy]:
    """Run the proxy before a server (host:port)."""
    proxy = StallingProxy(upstream, allowance)
    threading.Thread(target=proxy.serve, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.go_on.set()
        with contextlib.suppress(OSError):
            proxy.listener.shutdown(socket.SHUT_RDWR)
        for each in [proxy.listener, *proxy.sockets]:
            each.close()
