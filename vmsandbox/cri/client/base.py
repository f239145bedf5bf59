"""The base of the client's calls."""

import json
from typing import Any, Protocol

from cri_api.v1 import api_pb2 as api
from cri_api.v1 import api_pb2_grpc

from vmsandbox.cri.convert import described, redescribed
from vmsandbox.protocol.codec import JSON


class Channel(Protocol):
    """The part of a channel that the generated stubs use: gRPC's own (grpc.aio.Channel), or one to several runtimes."""

    @property
    def unary_unary(self) -> Any:
        """Make a call that has one answer."""
        ...

    @property
    def unary_stream(self) -> Any:
        """Make a call that is answered by a stream."""
        ...


class Client:
    """One family of calls."""

    def __init__(self, channel: Channel) -> None:
        """Speak over a channel, which is the caller's."""
        self._channel = channel
        self._runtime = api_pb2_grpc.RuntimeServiceStub(channel)


def inspected(
    response: api.StatusResponse | api.PodSandboxStatusResponse | api.ContainerStatusResponse,
    config: type[api.PodSandboxConfig] | type[api.ContainerConfig] | None = None,
) -> dict[str, JSON]:
    """Return the message (see `convert.described`), with the JSON texts of its `info` as what they say.

    Args:
        response: the answer of a runtime.
        config: the message that `info.config` holds, as far as this runtime follows containerd's form.
    """
    inspected = described(response)
    info = {key: json.loads(text) for key, text in response.info.items()}
    if config is not None and isinstance(details := info.get("info"), dict) and "config" in details:
        details["config"] = redescribed(config, details["config"])
    inspected["info"] = info
    return inspected
