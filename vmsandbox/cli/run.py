"""vmsandbox run: a pod from a YAML file."""

import os
import sys
import uuid
from pathlib import Path

import click

from vmsandbox.cli import execution, terminal
from vmsandbox.cli.options import Global
from vmsandbox.cli.pod_view import PodView
from vmsandbox.config import Config
from vmsandbox.errors import NotFound
from vmsandbox.node.host import open_host
from vmsandbox.node.instance import Instance, claim
from vmsandbox.pod.dns import host_dns
from vmsandbox.pod.documents import read_manifest
from vmsandbox.pod.plan import PodPlan, plan_pod
from vmsandbox.pod.pod_life import PodResult
from vmsandbox.pod.runner import run_pod
from vmsandbox.pod.runtime import ServiceRuntime
from vmsandbox.pod.subject import PlanSettings
from vmsandbox.pod.volumes import PodDirectories
from vmsandbox.service import RuntimeService


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--timings", is_flag=True, help="Say where the time of the cold start went.")
@click.pass_obj
def run(options: Global, files: tuple[Path, ...], timings: bool) -> None:
    """Run the Pod in FILES (- is standard input) in its own virtual machine, and end when its containers have.

    FILES hold one Pod of core/v1, and the ConfigMaps and Secrets that it uses, as further documents. A field that is
    not supported is an error before anything starts.

    Exit status: the pod's (0, or that of the container that failed first); 125 when it could not be run. Ctrl-C asks
    the containers to end, as long as terminationGracePeriodSeconds; Ctrl-C again ends them at once.
    """
    result = execution.run(_run(options.config("warning"), files, timings), failed=execution.RUN_FAILED)
    if result.reason:
        terminal.note(f"the pod failed: {result.reason}")
    raise SystemExit(result.exit_code)


async def _run(config: Config, files: tuple[Path, ...], timings: bool) -> PodResult:
    plan = plan_pod(read_manifest([_read(path) for path in files]), _settings(config))
    spec = plan.spec
    names = tuple(container.name for container in (*spec.init_containers, *spec.containers))
    with PodView(names, timings) as view, claim(config.run_directory, config.state_directory) as instance:
        return await _embedded(config, instance, plan, view)


async def _embedded(config: Config, instance: Instance, plan: PodPlan, view: PodView) -> PodResult:
    """With a libvirt inside this process, which ends with it."""
    async with open_host(config, instance, instance.embedded_libvirt) as host:
        service = RuntimeService(host)
        await service.reclaim()
        directories = PodDirectories(instance.runtime / "pod", instance.persistent / "pod")
        async with service.running():
            return await run_pod(plan, ServiceRuntime(service), view, directories)


def _read(path: Path) -> tuple[str, str]:
    if str(path) == "-":
        return "standard input", sys.stdin.read()
    try:
        return str(path), path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"{path} cannot be read: {error}") from None


def _settings(config: Config) -> PlanSettings:
    return PlanSettings(
        uid=str(uuid.uuid4()),
        dns=host_dns(),
        node_name=os.uname().nodename,
        vcpus=config.machine.vcpus,
        memory=config.machine.memory,
    )
