"""The context that the containers of a running sandbox share."""

from dataclasses import dataclass, replace

from vmsandbox.errors import Unavailable
from vmsandbox.model import ContainerConfig, SandboxState
from vmsandbox.pod.api import Container
from vmsandbox.pod.plan import PodPlan, environment, with_image_user
from vmsandbox.pod.run.mounting import PodMounts
from vmsandbox.pod.run.observer import PodObserver
from vmsandbox.pod.run.restarts import BackoffSettings
from vmsandbox.pod.run.runtime import PodRuntime


@dataclass(frozen=True, slots=True)
class PodContext:
    """A pod's sandbox, and what its containers are made with."""

    plan: PodPlan
    sandbox_id: str
    runtime: PodRuntime
    observer: PodObserver
    mounts: PodMounts
    backoff: BackoffSettings

    @property
    def address(self) -> str:
        """The pod's first address; empty where it has none."""
        return next(iter(self.mounts.facts.ips), "")

    async def check_machine(self) -> None:
        """Raise Unavailable, with the report of its death, when the machine is gone."""
        status = await self.runtime.pod_sandbox_status(self.sandbox_id)
        if status.state is not SandboxState.READY:
            raise Unavailable(
                f"the machine of pod {self.plan.name} is gone", evidence={"what was seen": status.message or "nothing"}
            )

    async def config(self, container: Container, attempt: int) -> ContainerConfig:
        """CRI ContainerConfig of an attempt; opens the sub-paths of its mounts anew."""
        facts, images = self.mounts.facts, self.mounts.images
        mounts = await self.mounts.of(container, environment(facts, container))
        config = self.plan.container(container, facts, mounts, attempt)
        image = images[container.image]
        security = with_image_user(config.security, image.config)
        return replace(config, image=image.id, user_specified_image=container.image, security=security)
