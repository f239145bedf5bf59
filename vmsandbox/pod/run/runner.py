"""Runs a planned pod: images, volumes, sandbox, containers; and gives everything back, however it ends."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from vmsandbox import aio
from vmsandbox.errors import FailedPrecondition, NotFound, VmsandboxError
from vmsandbox.images import PullProgress
from vmsandbox.model import Image
from vmsandbox.pod.api import PullPolicy
from vmsandbox.pod.plan import ImagePlan, PodPlan, must_not_be_root
from vmsandbox.pod.run.console import Console
from vmsandbox.pod.run.mounting import PodMounts
from vmsandbox.pod.run.observer import PodObserver
from vmsandbox.pod.run.pod_context import PodContext
from vmsandbox.pod.run.pod_life import PodLife, PodResult
from vmsandbox.pod.run.restarts import BackoffSettings
from vmsandbox.pod.run.runtime import PodRuntime
from vmsandbox.pod.run.volumes import PodDirectories, PodVolumes

PULLS_AT_ONCE = 4


async def run_pod(
    plan: PodPlan,
    runtime: PodRuntime,
    observer: PodObserver,
    directories: PodDirectories,
    backoff: BackoffSettings | None = None,
    *,
    console: Console | None = None,
    keep: bool = False,
) -> PodResult:
    """Run a pod to its end.

    Cancelling it asks the containers to end and waits for the grace period; cancelling it again ends them at once.
    Either way nothing is left of the pod when it raises, but images.

    Args:
        plan: of the pod.
        runtime: runs it.
        observer: is told what happens.
        directories: for its volumes; they are made and removed.
        backoff: between the restarts of a container; the kubelet's where it is not given.
        console: of the only container, where it takes input.
        keep: leave the sandbox and its containers, which have ended, to the runtime when the pod has run to its end.

    Raises:
        VmsandboxError: an image cannot be pulled, a container cannot be made; the machine could not start, or has died.
    """
    images = await _get_images(plan, runtime, observer)
    _check_users(plan, images)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(_to_its_end, directories.remove)
        volumes = PodVolumes(plan, directories, guest_tmpfs=runtime.guest_tmpfs)
        stack.callback(volumes.close)
        await volumes.make()
        observer.sandbox_starting()
        sandbox_id = await runtime.run_pod_sandbox(plan.sandbox)
        removal = await stack.enter_async_context(contextlib.AsyncExitStack())
        removal.push_async_callback(_to_its_end, runtime.remove_pod_sandbox, sandbox_id)
        stack.push_async_callback(_to_its_end, runtime.stop_pod_sandbox, sandbox_id)
        status = await runtime.pod_sandbox_status(sandbox_id)
        observer.sandbox_ready(status)
        mounts = PodMounts(volumes, plan.facts.with_ips(status.ips), images)
        context = PodContext(plan, sandbox_id, runtime, observer, mounts, backoff or BackoffSettings(), console)
        result = await PodLife(context).run()
        if keep:
            removal.pop_all()
        return result


async def _to_its_end(work: Any, *args: Any) -> None:
    await aio.to_its_end(work(*args))


async def _get_images(plan: PodPlan, runtime: PodRuntime, observer: PodObserver) -> dict[str, Image]:
    """All images of a pod by the names it has for them, pulled where its policies say so."""
    slots = asyncio.Semaphore(PULLS_AT_ONCE)
    images: dict[str, Image] = {}

    async def get(wanted: ImagePlan) -> None:
        async with slots:
            images[wanted.name] = await _get_image(wanted, runtime, observer)

    works: list[Coroutine[Any, Any, None]] = [get(wanted) for wanted in plan.images]
    await aio.together(*works)
    return images


async def _get_image(wanted: ImagePlan, runtime: PodRuntime, observer: PodObserver) -> Image:
    def report(progress: PullProgress) -> None:
        observer.pulling(wanted.name, progress)

    held = await runtime.find_image(wanted.name)
    if held is not None and wanted.policy is not PullPolicy.ALWAYS:
        observer.image_ready(wanted.name, held, pulled=False)
        return held
    if wanted.policy is PullPolicy.NEVER:
        raise NotFound(
            f"image {wanted.name} is not in the store, and imagePullPolicy is Never",
            hint="load it, or use another imagePullPolicy",
        )
    try:
        pulled = await runtime.pull_image(wanted.name, wanted.auth, report)
    except VmsandboxError as error:
        if held is not None:
            error.hint = "the store has an image of this name: imagePullPolicy IfNotPresent uses it"
        raise
    observer.image_ready(wanted.name, pulled, pulled=True)
    return pulled


def _check_users(plan: PodPlan, images: dict[str, Image]) -> None:
    """runAsNonRoot, as the kubelet checks it: against the image's user where the pod names none."""
    for container in (*plan.spec.init_containers, *plan.spec.containers):
        chosen = container.security_context.run_as_user
        chosen = plan.spec.security_context.run_as_user if chosen is None else chosen
        user = images[container.image].config.user.partition(":")[0] if chosen is None else str(chosen)
        if not must_not_be_root(plan.spec, container) or (user.isdecimal() and int(user) != 0):
            continue
        what = (
            "would run as root" if user in ("", "root") or user.isdecimal() else f"runs as {user!r}, which may be root"
        )
        raise FailedPrecondition(
            f"container {container.name} {what}, and runAsNonRoot is set", hint="set runAsUser to a user's number"
        )
