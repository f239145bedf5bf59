"""Exec, Attach and PortForward, which hand out URLs; what is wrong with a request, the streaming server says."""

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.interceptor import Context
from vmsandbox.cri.servicer.base import Servicer, StreamingUrls
from vmsandbox.errors import Unimplemented
from vmsandbox.model import AttachRequest, ExecRequest, PortForwardRequest


class StreamServicer(Servicer):
    """See the module."""

    async def Exec(self, request: api.ExecRequest, _: Context) -> api.ExecResponse:
        """A URL at which a command runs."""
        wanted = ExecRequest(
            self.container_id(request.container_id),
            tuple(request.cmd),
            tty=request.tty,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        return api.ExecResponse(url=self._urls.exec_url(wanted))

    async def Attach(self, request: api.AttachRequest, _: Context) -> api.AttachResponse:
        """A URL at which the container's own streams are."""
        wanted = AttachRequest(
            self.container_id(request.container_id),
            tty=request.tty,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        return api.AttachResponse(url=self._urls.attach_url(wanted))

    async def PortForward(self, request: api.PortForwardRequest, _: Context) -> api.PortForwardResponse:
        """A URL at which ports of the sandbox are reached."""
        wanted = PortForwardRequest(self.sandbox_id(request.pod_sandbox_id), tuple(request.port))
        return api.PortForwardResponse(url=self._urls.portforward_url(wanted))

    @property
    def _urls(self) -> StreamingUrls:
        if self.streaming is None:
            raise Unimplemented("this server was started without streaming")
        return self.streaming
