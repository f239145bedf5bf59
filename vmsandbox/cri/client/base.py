"""The base of the client's calls."""

import json

import grpc.aio
from cri_api.v1 import api_pb2 as api
from cri_api.v1 import api_pb2_grpc

from vmsandbox.cri.convert import document
from vmsandbox.protocol.codec import JSON


class Client:
    """One family of calls."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Speak over a channel, which is the caller's."""
        self._runtime = api_pb2_grpc.RuntimeServiceStub(channel)


def inspected(
    response: api.StatusResponse | api.PodSandboxStatusResponse | api.ContainerStatusResponse,
) -> dict[str, JSON]:
    """The message, with the JSON texts of its `info` as what they say."""
    inspected = document(response)
    inspected["info"] = {key: json.loads(text) for key, text in response.info.items()}
    return inspected
