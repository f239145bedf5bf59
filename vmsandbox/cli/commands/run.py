"""vmsandbox run: a pod from a YAML file."""

import os
import shutil
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import click

from vmsandbox.cli import execution, terminal
from vmsandbox.cli.commands.pod_view import PodView
from vmsandbox.cli.options import Global
from vmsandbox.config import Config
from vmsandbox.cri.client import CriClient, connected_if_served
from vmsandbox.cri.pod_runtime import DaemonRuntime
from vmsandbox.errors import NotFound
from vmsandbox.fs.opening import MEBIBYTE, read_regular, reason
from vmsandbox.node.host import open_host
from vmsandbox.node.instance import Instance, claim
from vmsandbox.pod.api import read_manifest
from vmsandbox.pod.plan import PlanSettings, PodPlan, plan_pod
from vmsandbox.pod.run import PodDirectories, PodResult, PodRuntime, ServiceRuntime, host_dns, run_pod
from vmsandbox.service import RuntimeService

_MOST = 64 * MEBIBYTE
"""Bytes of a file of manifests; a ConfigMap or Secret has at most one MiB."""


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--timings", is_flag=True, help="Show how long each step of the start took.")
@click.pass_obj
def run(options: Global, files: tuple[Path, ...], timings: bool) -> None:
    """Run the Pod in FILES (- is standard input) in its own machine.

    It ends when the pod's containers have. The daemon runs it where one serves this node, else this process does, with
    a libvirt of its own.

    FILES hold one Pod of core/v1, and the ConfigMaps and Secrets that it uses, as further documents. A field that is
    not supported is an error before anything starts.

    Exit status: the pod's (0, or that of the container that failed first); 125 when it could not be run. Ctrl-C asks
    the containers to end, as long as terminationGracePeriodSeconds; Ctrl-C again ends them at once.
    """
    config = options.config("warning")
    documents = [_read(path) for path in files]  # Here Ctrl-C ends it: there is no loop yet for a read to hold up.
    result = execution.run(_run(config, documents, timings), failed=execution.RUN_FAILED)
    if result.reason:
        terminal.note(f"the pod failed: {result.reason}")
    raise SystemExit(result.exit_code)


async def _run(config: Config, documents: list[tuple[str, str]], timings: bool) -> PodResult:
    manifest = read_manifest(documents)
    settings = _settings(config)
    plan = plan_pod(manifest, settings)  # what is wrong with it is said before anything is done
    with claim(config.run_directory, config.state_directory) as instance:
        directories = PodDirectories(instance.runtime / "pod", instance.persistent / "pod")
        await directories.remove()
        async with connected_if_served(config.socket) as client:
            if client is None:
                opened = _embedded(config, instance)
            else:
                plan = plan_pod(manifest, replace(settings, log_directory=str(instance.logs)))
                opened = _daemon(client, instance)
            async with opened as runtime:
                with PodView(_names(plan), timings) as view:
                    return await run_pod(plan, runtime, view, directories)


@asynccontextmanager
async def _embedded(config: Config, instance: Instance) -> AsyncIterator[PodRuntime]:
    """A runtime in this process, whose libvirt ends with it."""
    async with open_host(config, instance, instance.embedded_libvirt) as host:
        service = RuntimeService(host)
        await service.reclaim()
        async with service.running():
            yield ServiceRuntime(service)


@asynccontextmanager
async def _daemon(client: CriClient, instance: Instance) -> AsyncIterator[PodRuntime]:
    """The daemon; it writes logs, which are read and then removed."""
    try:
        yield DaemonRuntime(client)
    finally:
        shutil.rmtree(instance.logs, ignore_errors=True)


def _names(plan: PodPlan) -> tuple[str, ...]:
    return tuple(container.name for container in (*plan.spec.init_containers, *plan.spec.containers))


def _read(path: Path) -> tuple[str, str]:
    """Return a document's name for messages, and its text. End the process if it cannot be read."""
    try:
        if str(path) == "-":
            return "standard input", sys.stdin.read()
        return str(path), read_regular(path, _MOST, follow=True).decode()
    except (OSError, UnicodeDecodeError) as error:
        hint = "" if path.is_file() else "`vmsandbox run -` reads standard input"
        execution.fail(NotFound(f"{path} cannot be read: {reason(error)}", hint=hint), execution.RUN_FAILED)


def _settings(config: Config) -> PlanSettings:
    return PlanSettings(
        uid=str(uuid.uuid4()),
        dns=host_dns(),
        node_name=os.uname().nodename,
        handlers=config.machine_handlers,
        vcpus=config.machine.vcpus,
        memory=config.machine.memory,
    )
