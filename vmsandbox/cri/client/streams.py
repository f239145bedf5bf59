"""The client's calls that give the URLs of streams."""

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.client.base import Client
from vmsandbox.cri.codes import translated
from vmsandbox.model import AttachRequest, ExecRequest, PortForwardRequest


class StreamClient(Client):
    """See the package."""

    async def exec_url(self, request: ExecRequest) -> str:
        """The URL at which a command's streams are."""
        wire = api.ExecRequest(
            container_id=request.container_id,
            cmd=request.command,
            tty=request.tty,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        with translated():
            return str((await self._runtime.Exec(wire)).url)

    async def attach_url(self, request: AttachRequest) -> str:
        """The URL at which a container's own streams are."""
        wire = api.AttachRequest(
            container_id=request.container_id,
            tty=request.tty,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
        )
        with translated():
            return str((await self._runtime.Attach(wire)).url)

    async def port_forward_url(self, request: PortForwardRequest) -> str:
        """The URL at which ports of a sandbox are reached."""
        wire = api.PortForwardRequest(pod_sandbox_id=request.sandbox_id, port=request.ports)
        with translated():
            return str((await self._runtime.PortForward(wire)).url)
