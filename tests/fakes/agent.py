"""A fake agent: the protocol as docs/protocol.md tells it, without a guest. `agent_contract.py` holds it to that.

It can be scripted: `programs` says what a container's command does, `before` delays or fails a request or the hello,
`answers` gives a method's result instead of the fake's own, `unasked` runs beside every control connection, `say` sends
anything, `hang_up` ends all connections, and `requests` and `cancelled` tell what has arrived. Whole misbehaviours are
in `hostile_agent`.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import secrets
import signal
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from tests.fakes.measures import measures
from tests.fakes.processes import FakeOutput, FakeProcess, Program, until_killed
from vmsandbox.guest.transport.connection import GuestConnection
from vmsandbox.protocol.codec import MalformedMessage, decode, encode
from vmsandbox.protocol.features import features_of
from vmsandbox.protocol.framing import ProtocolError, pack, pack_json, parse_json
from vmsandbox.protocol.messages import (
    GUEST,
    REQUESTS,
    VERSION,
    AdjustClock,
    Clock,
    ConfigureGuest,
    Containers,
    CreateContainer,
    Created,
    DeleteContainer,
    Empty,
    EndExecs,
    Envelope,
    Event,
    Exec,
    Exit,
    Hello,
    HelloProof,
    HelloReply,
    Kind,
    ListContainers,
    MeasureContainers,
    Measured,
    OciState,
    OpenPort,
    OpenStream,
    Processors,
    ProcessUser,
    ReadClock,
    Resize,
    Shutdown,
    SignalContainer,
    SignalExec,
    StartContainer,
    Stream,
    StreamToken,
    TimedPart,
    UseProcessors,
    WriteVolume,
)
from vmsandbox.protocol.secret import SECRET_BYTES, End, prove, proves, random_bytes

_OFFSET = struct.Struct(">Q")
_CHUNK = 16 * 1024 - 4
_BY_HOST = "cancelled by the host"

Serve = Callable[[GuestConnection], Awaitable[None]]


class Refusal(Exception):
    """An error that the fake answers."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class FakeAgent:
    """A context: listens in a directory while it is entered."""

    def __init__(self, directory: Path) -> None:
        self.programs: dict[tuple[str, ...], Program] = {}
        self.before: dict[str, Callable[[Any], Awaitable[None]]] = {}
        self.answers: dict[str, Callable[[Any], object]] = {}
        self.unasked: list[Serve] = []
        self.requests: list[Any] = []
        self.cancelled: list[str] = []
        self.hellos: list[Hello] = []
        self.reply = HelloReply(VERSION, "test-build", "boot", "6.12.0", 4.0, 3.5, features=features_of(REQUESTS))
        self.processes: dict[tuple[str, str], FakeProcess] = {}
        self.events: dict[int, Event] = {}
        self._directory = directory
        self._last_event = 0
        self._started: set[str] = set()
        self._tokens: dict[str, Serve] = {}
        self._controller: GuestConnection | None = None
        self._connections: dict[asyncio.Task[None], GuestConnection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._gone = False
        self.volumes: dict[str, list[WriteVolume]] = {}
        """The versions that volumes have had, by name."""
        self.behind = 0
        """Nanoseconds by which the guest's clock is behind the host's."""
        self.cpus, self.online = 240, 1
        """The CPUs of the machine, and those in use."""
        self.secret = b""
        """The machine's: a hello is answered with a proof, where it has a nonce, and has to be followed by one."""

    @property
    def debug(self) -> bool:
        """Whether the host has allowed commands in the guest itself."""
        configured = (request for request in reversed(self.requests) if isinstance(request, ConfigureGuest))
        return any(request.debug for request in itertools.islice(configured, 1))

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._gone = True
        self.stop_listening()
        await self.hang_up()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def listen(self) -> None:
        for port, serve in ((1024, self._serve_controller), (1025, self._serve_stream)):
            server = await asyncio.start_unix_server(self._accepting(serve), str(self._directory / f"{port}.sock"))
            self._servers.append(server)
        port = await asyncio.start_unix_server(self._take_secret, str(self._directory / "secret"))
        self._servers.append(port)

    async def _take_secret(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take the secret like the port of a machine, which the guest reads after it has booted."""
        with contextlib.closing(writer):
            if secret := await reader.read(SECRET_BYTES):
                self.secret = secret
            await reader.read()

    def stop_listening(self) -> None:
        """Accept no more connections. Those that there are go on, so nothing waits for them (`Server.wait_closed`)."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def hang_up(self) -> None:
        """End every connection, as a restarted vsock device would."""
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def say(self, data: bytes) -> None:
        """Send raw bytes to the controller."""
        assert self._controller is not None
        await self._controller.send(data)

    async def emit(self, event: Event) -> None:
        self._last_event += 1
        self.events[self._last_event] = event
        await self._tell(self._last_event, event)

    def _accepting(self, serve: Serve) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self._gone:
                writer.transport.abort()
                return
            connection = GuestConnection(reader, writer)
            task = asyncio.create_task(self._guard(connection, serve))
            self._connections[task] = connection
            task.add_done_callback(lambda task: self._forget(task, writer))

        return accept

    def _forget(self, task: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
        """Drop a connection that has ended. One whose task was cancelled before it began is closed here."""
        del self._connections[task]
        writer.close()

    @staticmethod
    async def _guard(connection: GuestConnection, serve: Serve) -> None:
        try:
            with contextlib.suppress(OSError, ProtocolError):
                await serve(connection)
        finally:
            await connection.aclose()

    @staticmethod
    async def _guard_work(work: Awaitable[None]) -> None:
        """End the work that sends frames when nobody reads them any more."""
        with contextlib.suppress(OSError, ProtocolError):
            await work

    async def _serve_controller(self, connection: GuestConnection) -> None:
        hello = decode(Hello, parse_json(await connection.receive() or b""))
        self.hellos.append(hello)
        if "hello" in self.before:
            await self.before["hello"](hello)
        await self._greet(connection, hello)
        await self._replace_controller(connection)
        running: dict[int, asyncio.Task[None]] = {}
        unasked = [asyncio.create_task(self._guard_work(work(connection))) for work in self.unasked]
        try:
            await self._acknowledge(hello.acknowledged)
            for number, event in list(self.events.items()):
                await self._tell(number, event)
            while (payload := await connection.receive()) is not None:
                await self._take(connection, decode(Envelope, parse_json(payload)), running)
        finally:
            tasks = [*running.values(), *unasked]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._controller is connection:
                self._controller = None
                self._tokens.clear()

    async def _greet(self, connection: GuestConnection, hello: Hello) -> None:
        """Answer the hello. Raises ProtocolError where the controller does not know the secret."""
        if not self.secret:
            await connection.send(pack_json(encode(self.reply)))
            return
        nonce = random_bytes().hex()
        proof = prove(self.secret, End.AGENT, hello.nonce, nonce)
        await connection.send(pack_json(encode(dataclasses.replace(self.reply, nonce=nonce, proof=proof))))
        answer = decode(HelloProof, parse_json(await connection.receive() or b""))
        if not proves(answer.proof, self.secret, End.HOST, hello.nonce, nonce):
            raise ProtocolError("the controller does not know this machine's secret")

    async def _replace_controller(self, connection: GuestConnection) -> None:
        old, self._controller = self._controller, connection
        if old is not None:
            await old.send(pack_json(encode(Envelope(Kind.GOODBYE, body="replaced by a newer controller"))))
            for task, known in list(self._connections.items()):
                if known is old:
                    task.cancel()

    async def _take(
        self, connection: GuestConnection, envelope: Envelope, running: dict[int, asyncio.Task[None]]
    ) -> None:
        if envelope.kind is Kind.REQUEST:
            task = asyncio.create_task(self._answer(connection, envelope))
            running[envelope.id] = task
            task.add_done_callback(lambda _: running.pop(envelope.id))
        elif envelope.kind is Kind.CANCEL and envelope.id in running:
            running[envelope.id].cancel(_BY_HOST)
        elif envelope.kind is Kind.ACKNOWLEDGE:
            await self._acknowledge(envelope.id)

    async def _answer(self, connection: GuestConnection, envelope: Envelope) -> None:
        begin = time.monotonic()
        try:
            body = encode(await self._carry_out(envelope))
            parts = (TimedPart("work", time.monotonic() - begin),) if envelope.timed else ()
            answer = Envelope(Kind.RESPONSE, envelope.id, body=body, parts=parts)
        except Refusal as refusal:
            answer = Envelope(Kind.ERROR, envelope.id, refusal.code, str(refusal))
        except MalformedMessage as error:
            answer = Envelope(Kind.ERROR, envelope.id, "invalid_argument", str(error))
        except asyncio.CancelledError as error:
            if _BY_HOST not in error.args:
                raise
            self.cancelled.append(envelope.method)
            answer = Envelope(Kind.ERROR, envelope.id, "cancelled", "it was cancelled")
        with contextlib.suppress(OSError):
            await connection.send(pack_json(encode(answer)))

    async def _carry_out(self, envelope: Envelope) -> object:
        request = decode(REQUESTS[envelope.method], envelope.body)
        self.requests.append(request)
        if envelope.method in self.before:
            await self.before[envelope.method](request)
        if envelope.method in self.answers:
            return self.answers[envelope.method](request)
        handler = getattr(self, f"_{envelope.method}", None)
        return await handler(request) if handler else Empty()

    async def _acknowledge(self, number: int) -> None:
        for known in [known for known in self.events if known <= number]:
            del self.events[known]

    async def _tell(self, number: int, event: Event) -> None:
        if self._controller is not None:
            with contextlib.suppress(OSError):
                envelope = Envelope(Kind.EVENT, number, event.EVENT, encode(event))
                await self._controller.send(pack_json(encode(envelope)))

    def _process(self, container_id: str, exec_id: str = "") -> FakeProcess:
        if (found := self.processes.get((container_id, exec_id))) is None:
            raise Refusal("not_found", f"there is no container or exec {container_id} {exec_id}")
        return found

    async def _write_volume(self, request: WriteVolume) -> Empty:
        if request.name not in self.volumes and not request.make:
            raise Refusal("not_found", f"there is no volume {request.name}")
        versions = self.volumes.setdefault(request.name, [])
        if not versions or versions[-1].version != request.version:
            versions.append(request)
        return Empty()

    async def _read_clock(self, _: ReadClock) -> Clock:
        return Clock(time.time_ns() - self.behind)

    async def _adjust_clock(self, request: AdjustClock) -> Empty:
        self.behind -= request.nanoseconds
        return Empty()

    async def _use_processors(self, request: UseProcessors) -> Processors:
        if request.count > self.cpus:
            raise Refusal("failed_precondition", f"the machine has {self.cpus} CPUs, and cannot use {request.count}")
        self.online = request.count or self.online
        return Processors(self.online)

    async def _create_container(self, request: CreateContainer) -> Created:
        if (request.container_id, "") in self.processes:
            raise Refusal("already_exists", f"container {request.container_id} exists")
        args = tuple(request.spec["process"]["args"])
        process = FakeProcess(args, stdin=request.stdin, tty=request.tty)
        self.processes[request.container_id, ""] = process
        return Created(ProcessUser(0, 0, (0,)))

    async def _start_container(self, request: StartContainer) -> Empty:
        process = self._process(request.container_id)
        if request.container_id in self._started:
            raise Refusal("failed_precondition", f"container {request.container_id} was started already")
        self._started.add(request.container_id)
        self._spawn(self._run(process, request.container_id, ""))
        return Empty()

    async def _exec(self, request: Exec) -> Empty:
        if request.container_id == GUEST:
            if not self.debug:
                raise Refusal("failed_precondition", "this guest was configured without commands in itself")
        elif self._process(request.container_id).exit_code is not None:
            raise Refusal("failed_precondition", f"container {request.container_id} is not running")
        process = FakeProcess(tuple(request.process["args"]), stdin=request.stdin, tty=request.tty)
        self.processes[request.container_id, request.exec_id] = process
        self._spawn(self._run(process, request.container_id, request.exec_id))
        return Empty()

    async def _signal_container(self, request: SignalContainer) -> Empty:
        process = self._process(request.container_id)
        process.signal(request.signal)
        if request.container_id not in self._started and request.signal == signal.SIGKILL:
            self._started.add(request.container_id)
            self._spawn(self._run(process, request.container_id, ""))
        return Empty()

    async def _signal_exec(self, request: SignalExec) -> Empty:
        self._process(request.container_id, request.exec_id).signal(request.signal)
        return Empty()

    async def _end_execs(self, _: EndExecs) -> Empty:
        for key in [key for key in self.processes if key[1]]:
            self.processes.pop(key).signal(signal.SIGKILL)
        return Empty()

    async def _delete_container(self, request: DeleteContainer) -> Empty:
        for key in [key for key in self.processes if key[0] == request.container_id]:
            process = self.processes.pop(key)
            process.signal(signal.SIGKILL)
        self._started.discard(request.container_id)
        return Empty()

    async def _resize(self, request: Resize) -> Empty:
        process = self._process(request.container_id, request.exec_id)
        if not process.tty:
            raise Refusal("failed_precondition", "the process has no terminal")
        process.size = (request.columns, request.rows)
        return Empty()

    async def _list_containers(self, _: ListContainers) -> Containers:
        return Containers(tuple(self._state(key[0]) for key in self.processes if not key[1]))

    async def _measure_containers(self, _: MeasureContainers) -> Measured:
        known = (self._state(key[0]) for key in self.processes if not key[1])
        running = [state.container_id for state in known if state.status == "running"]
        return Measured(time.time_ns(), tuple(measures(name) for name in running))

    def _state(self, container_id: str) -> OciState:
        code = self.processes[container_id, ""].exit_code
        if code is not None:
            return OciState(container_id, "stopped", 1, code)
        return OciState(container_id, "running" if container_id in self._started else "created", 1)

    async def _shutdown(self, _: Shutdown) -> Empty:
        self.stop_listening()
        self._spawn(self.hang_up())
        await asyncio.Event().wait()
        return Empty()

    async def _open_stream(self, request: OpenStream) -> StreamToken:
        process = self._process(request.container_id, request.exec_id)
        if request.stream is Stream.STDIN:
            if not process.stdin_open:
                raise Refusal("failed_precondition", "standard input is closed")
            return self._offer(lambda connection: _serve_input(process, connection))
        if request.stream not in process.outputs:
            raise Refusal("failed_precondition", f"the process has no {request.stream.value}")
        output = process.outputs[request.stream]
        if not output.start <= request.offset <= output.end:
            raise Refusal("invalid_argument", f"offset {request.offset} is not held")
        await output.acknowledge(request.offset)
        return self._offer(lambda connection: _serve_output(output, connection))

    async def _open_port(self, request: OpenPort) -> StreamToken:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", request.port)
        except OSError as error:
            raise Refusal("unavailable", f"localhost:{request.port}: {error.strerror}") from None
        return self._offer(lambda connection: _serve_port(reader, writer, connection))

    def _offer(self, serve: Serve) -> StreamToken:
        token = secrets.token_hex(16)
        self._tokens[token] = serve
        return StreamToken(token)

    async def _serve_stream(self, connection: GuestConnection) -> None:
        token = decode(StreamToken, parse_json(await connection.receive() or b""))
        if (serve := self._tokens.pop(token.token, None)) is not None:
            await serve(connection)

    async def _run(self, process: FakeProcess, container_id: str, exec_id: str) -> None:
        program = self.programs.get(process.args, until_killed)
        running = asyncio.ensure_future(program(process))
        killed = asyncio.create_task(process.killed.wait())
        try:
            await asyncio.wait([running, killed], return_when=asyncio.FIRST_COMPLETED)
            process.exit_code = running.result() if running.done() else 128 + signal.SIGKILL
        finally:
            running.cancel()
            killed.cancel()
            process.stdin_open = False
            for output in process.outputs.values():
                await output.finish()
        await self.emit(Exit(container_id, process.exit_code, time.time_ns(), exec_id))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _serve_output(output: FakeOutput, connection: GuestConnection) -> None:
    sender = asyncio.create_task(_send_output(output, connection))
    try:
        while (payload := await connection.receive()) is not None:
            await output.acknowledge(_OFFSET.unpack(payload)[0])
            if output.ended and not output.buffer:
                await sender
                return
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)


async def _send_output(output: FakeOutput, connection: GuestConnection) -> None:
    position = output.start
    while chunk := await output.chunk(position, _CHUNK):
        await connection.send(pack(chunk))
        position += len(chunk)
    await connection.send(pack(b""))


async def _serve_input(process: FakeProcess, connection: GuestConnection) -> None:
    await connection.send(pack(_OFFSET.pack(process.stdin_taken)))
    while (chunk := await connection.receive()) is not None and process.stdin_open:
        await process.stdin.put(chunk)
        process.stdin_taken += len(chunk)
        if not chunk:
            process.stdin_open = False
            return
        await connection.send(pack(_OFFSET.pack(process.stdin_taken)))


async def _serve_port(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: GuestConnection) -> None:
    async def answer() -> None:
        while data := await reader.read(_CHUNK):
            await connection.send(pack(data))
        await connection.send(pack(b""))

    answering = asyncio.create_task(answer())
    try:
        while (chunk := await connection.receive()) is not None:
            if chunk:
                writer.write(chunk)
                await writer.drain()
            else:
                writer.write_eof()
    finally:
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        writer.close()
