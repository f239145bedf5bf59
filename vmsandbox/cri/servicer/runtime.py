"""The CRI's RuntimeService: every call of the bindings, by families; here those about the runtime itself."""

import enum
import ipaddress
import json
from collections.abc import AsyncIterator
from contextlib import aclosing

from cri_api.v1 import api_pb2 as api
from cri_api.v1 import api_pb2_grpc

from vmsandbox import aio, log
from vmsandbox.cri.codes import in_a_line
from vmsandbox.cri.convert import event_to_cri
from vmsandbox.cri.interceptor import Context
from vmsandbox.cri.servicer.base import UNTELLABLE, Servicer
from vmsandbox.cri.servicer.containers import ContainerServicer
from vmsandbox.cri.servicer.sandboxes import SandboxServicer
from vmsandbox.cri.servicer.statistics import MetricServicer, StatisticsServicer
from vmsandbox.errors import InvalidArgument, NotFound, VmsandboxError
from vmsandbox.model import ContainerEvent, SandboxStatus
from vmsandbox.version import VERSION

_log = log.get(__name__)

KUBELET_API_VERSION = "0.1.0"
"""The value that the kubelet and critest expect in VersionResponse.version; every runtime returns it."""


class RuntimeInfoServicer(Servicer):
    """Version, Status, RuntimeConfig, UpdateRuntimeConfig and GetContainerEvents."""

    async def Version(self, request: api.VersionRequest, _: Context) -> api.VersionResponse:
        """Return the name and the version of this runtime."""
        return api.VersionResponse(
            version=KUBELET_API_VERSION,
            runtime_name="vmsandbox",
            runtime_version=VERSION,
            runtime_api_version="v1",
        )

    async def Status(self, request: api.StatusRequest, _: Context) -> api.StatusResponse:
        """Whether pods can be run; the handlers and what they can."""
        return api.StatusResponse(
            status=api.RuntimeStatus(
                conditions=[api.RuntimeCondition(type="RuntimeReady", status=True), await self._network_condition()]
            ),
            runtime_handlers=[
                api.RuntimeHandler(
                    name=name,
                    features=api.RuntimeHandlerFeatures(recursive_read_only_mounts=True, user_namespaces=True),
                )
                for name in sorted(self.node.handlers)
            ],
            features=api.RuntimeFeatures(supplemental_groups_policy=True),
            info=await self._info() if request.verbose else {},
        )

    async def _info(self) -> dict[str, str]:
        """Return the additions of the verbose status: the configuration in effect, and facts about this host."""
        return {
            "config": json.dumps(self.node.config, default=_plain),
            "host": json.dumps(await self.service.facts()),
        }

    async def RuntimeConfig(self, request: api.RuntimeConfigRequest, _: Context) -> api.RuntimeConfigResponse:
        """The cgroup driver: containers are in the guest's cgroups, which the kubelet never sees, by cgroupfs."""
        return api.RuntimeConfigResponse(linux=api.LinuxRuntimeConfiguration(cgroup_driver=api.CGROUPFS))

    async def UpdateRuntimeConfig(
        self, request: api.UpdateRuntimeConfigRequest, _: Context
    ) -> api.UpdateRuntimeConfigResponse:
        """Take note of the node's pod ranges; which addresses pods get is decided by the CNI configuration."""
        ranges = request.runtime_config.network_config.pod_cidr
        for item in filter(None, ranges.split(",")):
            try:
                ipaddress.ip_network(item.strip())
            except ValueError as error:
                raise InvalidArgument(f"{item.strip()!r} is not a range of addresses: {error}") from None
        if ranges:
            _log.info("the node's pods have the ranges %s; the CNI configuration has to agree", ranges)
        return api.UpdateRuntimeConfigResponse()

    async def GetContainerEvents(
        self, request: api.GetEventsRequest, context: Context
    ) -> AsyncIterator[api.ContainerEventResponse]:
        """Yield events from now on. The headers are sent when the subscription has begun.

        An event that cannot be told is left out, and logged: it is one sandbox's, and the stream also belongs to
        others.
        """
        async with aclosing(self.service.events()) as events:
            await context.send_initial_metadata(())
            while True:
                event = await aio.unless(anext(events), self.ending)
                try:
                    response = event_to_cri(event, self._sandbox_of(event), self.statuses_in(event.sandbox_id))
                except UNTELLABLE as error:
                    _log.error(
                        "an event of %s is left out, because the CRI cannot represent it: %s", event.container_id, error
                    )
                else:
                    yield response

    def _sandbox_of(self, event: ContainerEvent) -> SandboxStatus | None:
        try:
            return self.service.pod_sandbox_status(event.sandbox_id)
        except NotFound:
            return None

    async def _network_condition(self) -> api.RuntimeCondition:
        condition = api.RuntimeCondition(type="NetworkReady", status=True)
        try:
            await self.node.network_ready()
        except VmsandboxError as error:
            condition.status = False
            condition.reason = "NetworkPluginNotReady"
            condition.message = in_a_line(error)
        return condition


def _plain(value: object) -> object:
    """Return a value of a type that JSON lacks, an enumeration or a path, as text."""
    return value.value if isinstance(value, enum.Enum) else str(value)


class RuntimeServicer(
    RuntimeInfoServicer,
    SandboxServicer,
    ContainerServicer,
    StatisticsServicer,
    MetricServicer,
    api_pb2_grpc.RuntimeServiceServicer,
):
    """runtime.v1.RuntimeService, in front of `vmsandbox.service.RuntimeService`."""
