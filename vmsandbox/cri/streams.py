"""The calls that hand out URLs: Exec, Attach and PortForward."""

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.calls import Calls, StreamingUrls
from vmsandbox.cri.guard import Context
from vmsandbox.errors import FailedPrecondition, InvalidArgument, Unimplemented
from vmsandbox.model import (
    AttachRequest,
    ContainerState,
    ExecRequest,
    PortForwardRequest,
    SandboxState,
)


class StreamCalls(Calls):
    """What is wrong with a request is said here, so that a client learns it before it connects to the URL."""

    async def Exec(self, request: api.ExecRequest, _: Context) -> api.ExecResponse:
        """A URL at which a command runs."""
        _check_streams(request)
        if not request.cmd:
            raise InvalidArgument("no command was given")
        wanted = ExecRequest(
            self._running(request.container_id),
            tuple(request.cmd),
            tty=request.tty,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        return api.ExecResponse(url=self._urls.exec_url(wanted))

    async def Attach(self, request: api.AttachRequest, _: Context) -> api.AttachResponse:
        """A URL at which the container's own streams are."""
        _check_streams(request)
        wanted = AttachRequest(
            self._running(request.container_id),
            tty=request.tty,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        return api.AttachResponse(url=self._urls.attach_url(wanted))

    async def PortForward(self, request: api.PortForwardRequest, _: Context) -> api.PortForwardResponse:
        """A URL at which ports of the sandbox are reached."""
        sandbox = self.service.pod_sandbox_status(self.sandbox_id(request.pod_sandbox_id))
        if sandbox.state is not SandboxState.READY:
            raise FailedPrecondition(f"cannot reach a port of sandbox {sandbox.id}: it is {sandbox.state.value}")
        wrong = [port for port in request.port if not 0 < port < 65536]
        if wrong:
            raise InvalidArgument(f"{wrong[0]} is no port")
        return api.PortForwardResponse(
            url=self._urls.portforward_url(PortForwardRequest(sandbox.id, tuple(request.port)))
        )

    @property
    def _urls(self) -> StreamingUrls:
        if self.streaming is None:
            raise Unimplemented("this server was started without streaming")
        return self.streaming

    def _running(self, text: str) -> str:
        container = self.service.container_status(self.container_id(text))
        if container.state is not ContainerState.RUNNING:
            raise FailedPrecondition(f"container {container.id} is {container.state.value}, not running")
        return container.id


def _check_streams(request: api.ExecRequest | api.AttachRequest) -> None:
    """The rules that the comments of ExecRequest and AttachRequest state."""
    if not (request.stdin or request.stdout or request.stderr):
        raise InvalidArgument("one of stdin, stdout and stderr has to be asked for")
    if request.tty and request.stderr:
        raise InvalidArgument("a terminal has no stderr of its own: tty and stderr exclude each other")
