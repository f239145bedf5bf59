"""The work of `vmsandbox run`: manifests are read or made, planned, and run by the daemon or by this process."""

import asyncio
import difflib
import json
import os
import secrets
import shutil
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NoReturn

from vmsandbox.cli import execution, terminal
from vmsandbox.cli.commands.detach_keys import parse_keys
from vmsandbox.cli.commands.run.background import Background
from vmsandbox.cli.commands.run.console import OwnConsole
from vmsandbox.cli.commands.run.pod_view import PodView
from vmsandbox.cli.options import Global
from vmsandbox.config import Config
from vmsandbox.cri.client import CriClient, connected_if_served, connected_to_all
from vmsandbox.cri.own_runtime import own_runtime
from vmsandbox.cri.pod_runtime import DaemonRuntime
from vmsandbox.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied, Unavailable
from vmsandbox.fs import make_directory
from vmsandbox.fs.opening import MEBIBYTE, read_regular, reason
from vmsandbox.node.instance import Instance, claim, run_sockets
from vmsandbox.pod.api import Manifest, manifest_of, read_manifest
from vmsandbox.pod.named_volumes import VOLUMES
from vmsandbox.pod.options import OptionContext, RunOptions, option_of, pod_document
from vmsandbox.pod.plan import PlanSettings, PodPlan, plan_pod
from vmsandbox.pod.run import PodDirectories, PodResult, PodRuntime, has_console, host_dns, run_pod
from vmsandbox.process import remove_tree
from vmsandbox.streaming.client import client_tls
from vmsandbox.typed_yaml import dump, from_values, plain

_MOST = 64 * MEBIBYTE
"""Bytes of a file of manifests; a ConfigMap or Secret has at most one MiB."""

_SUFFIX = 3
"""Bytes of what makes a pod's name its own."""


_WHY = {"Stopped": "the pod was stopped from outside, as by `vmsandbox stop`"}
"""The words for reasons that say too little by themselves."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A pod that the command line asks for."""

    manifest: Callable[[], Manifest]
    """Makes it, of files or of options. Raises InvalidArgument."""
    image: str = ""
    """The image, where one was named instead of files."""
    name: str = ""
    """The --name of the pod of an image."""
    dry_run: bool = False
    output: str = "yaml"
    timings: bool = False
    rm: bool = True
    detach: bool = False
    interactive: bool = False
    keys: bytes = b""
    background: Background | None = None
    """The way into the background."""

    @property
    def left(self) -> bool:
        """Whether the work has gone there."""
        return self.background is not None and self.background.left


def run_files(options: Global, files: Sequence[str], given: Mapping[str, Any], background: Background | None) -> None:
    """Run the pod of files to its end, which becomes the process's."""
    config = options.config("warning")
    texts = [_read(file) for file in files]  # Here Ctrl-C ends it: there is no loop yet for a read to hold up.
    _finish(config, Wanted(lambda: read_manifest(texts, given["only"]), **_common(given, background)))


def run_image(options: Global, words: Sequence[str], given: Mapping[str, Any], background: Background | None) -> None:
    """Run a pod of an image, as podman would, to its end, which becomes the process's."""
    config = options.config("warning")
    image, *command = words
    if image.startswith(("/", ".")):
        execution.fail(NotFound(f"there is no file {image}", hint=_meant(image)), execution.RUN_FAILED)
    if given["tty"] and given["interactive"] and not (given["detach"] or given["dry_run"] or sys.stdin.isatty()):
        error = InvalidArgument("-t with -i wants a terminal, and our input is not one", hint="-i alone pipes it")
        execution.fail(error, execution.RUN_FAILED)
    chosen = {one.name: given[one.name] for one in fields(RunOptions) if one.name in given}
    chosen["env_file"] = tuple(_read(file, "--env-file") for file in given["env_file"])
    asked = RunOptions(image=image, command=tuple(command), **chosen)
    context = OptionContext(os.environ, str(Path.cwd()), secrets.token_hex(_SUFFIX))

    def made() -> Manifest:
        return manifest_of([from_values(pod_document(asked, context), option_of)])

    own = {name: given[name] for name in ("name", "rm", "interactive")}
    _finish(config, Wanted(made, image, **_common(given, background), **own))


def _common(given: Mapping[str, Any], background: Background | None) -> dict[str, Any]:
    common = {name: given[name] for name in ("dry_run", "output", "timings", "detach")}
    try:
        keys = parse_keys(given["detach_keys"])
    except InvalidArgument as error:
        execution.fail(error, execution.RUN_FAILED)
    return common | {"background": background, "keys": keys}


def _finish(config: Config, wanted: Wanted) -> NoReturn:
    result = execution.run(_run(config, wanted), failed=execution.RUN_FAILED)
    if result is None:
        raise SystemExit(0)
    if result.reason:
        terminal.note(_WHY.get(result.reason, f"the pod failed: {result.reason}"))
    raise SystemExit(result.exit_code)


async def _run(config: Config, wanted: Wanted) -> PodResult | None:
    try:
        manifest = wanted.manifest()
        for note in manifest.notes:
            terminal.note(note)
        settings = _settings(config)
        plan = plan_pod(manifest, settings)  # what is wrong with it is said before anything is done
        if wanted.dry_run:
            _print(manifest, wanted.output)
            return None
        return await _run_here(config, wanted, manifest, settings, plan)
    except (InvalidArgument, NotFound, PermissionDenied) as error:
        if wanted.image and wanted.image in str(error):
            error.hint = "; ".join(filter(None, (error.hint, _meant(wanted.image))))
        raise


async def _run_here(
    config: Config, wanted: Wanted, manifest: Manifest, settings: PlanSettings, plan: PodPlan
) -> PodResult:
    with claim(config.run_directory, config.state_directory) as instance:
        named = config.state_directory / VOLUMES
        directories = PodDirectories(instance.runtime / "pod", instance.persistent / "pod", named)
        await directories.remove()
        if wanted.name:
            await _check_name(config, plan)
        async with connected_if_served(config.socket) as client:
            keep = client is not None and not wanted.rm
            logs = await kept_logs(config, client) / settings.uid if client and keep else instance.logs
            plan = plan_pod(manifest, replace(settings, log_directory=str(logs)))
            opened = own_runtime(config, instance) if client is None else _daemon(client, instance, config)
            async with opened as runtime:
                with _view(plan, wanted, instance) as view:
                    console = _console(plan, wanted, instance)
                    with _told_what_runs_on(plan, daemon=client is not None):
                        return await run_pod(plan, runtime, view, directories, console=console, keep=keep)


@contextmanager
def _told_what_runs_on(plan: PodPlan, *, daemon: bool) -> Iterator[None]:
    """Say how the pod is ended that this process has to leave behind, where the body loses its daemon."""
    try:
        yield
    except Unavailable as error:
        if daemon and "gRPC" in error.evidence:
            error.hint += f"; `vmsandbox rm -f {plan.sandbox.metadata.name}` ends this pod then"
        raise


def _view(plan: PodPlan, wanted: Wanted, instance: Instance) -> PodView:
    names = tuple(container.name for container in (*plan.spec.init_containers, *plan.spec.containers))
    view = PodView(names, wanted.timings, bare=bool(wanted.image), silent=lambda: wanted.left)
    if (background := wanted.background) is not None and wanted.detach:
        view.on_started = lambda: background.leave(_notes(instance), plan.sandbox.metadata.name)
    return view


def _console(plan: PodPlan, wanted: Wanted, instance: Instance) -> OwnConsole | None:
    """Our streams, where the pod's only container takes input, and has not gone to the background at once."""
    container = plan.spec.containers[0]
    if wanted.detach or not has_console(container, plan.spec):
        return None
    if not container.tty:
        return OwnConsole(terminal=False) if wanted.interactive else None
    if (background := wanted.background) is None:  # There is no terminal here.
        return None

    def leave() -> None:
        name = plan.sandbox.metadata.name
        terminal.note(f"\npod {plan.name} runs on; `vmsandbox attach -it {name}`, `vmsandbox stop {name}`")
        background.leave(_notes(instance))

    return OwnConsole(terminal=True, keys=wanted.keys, leave=leave)


def _notes(instance: Instance) -> Path:
    return instance.persistent / "notes.log"


async def _check_name(config: Config, plan: PodPlan) -> None:
    """Raise AlreadyExists if there is a pod of this name, at the daemon or at another `vmsandbox run`."""
    try:
        async with connected_to_all(config.socket, run_sockets(config.run_directory)) as client:
            pods = [pod.config.metadata for pod in await client.list_pod_sandboxes()]
    except Unavailable:
        return
    own = plan.sandbox.metadata
    if (own.namespace, own.name) in {(pod.namespace, pod.name) for pod in pods}:
        raise AlreadyExists(f"there is a pod {plan.name}", hint=f"`vmsandbox rm -f {own.name}`, or another --name")


async def kept_logs(config: Config, client: CriClient) -> Path:
    """The directory of the logs of pods that stay after their end; those of pods that are gone go now."""
    directory = config.state_directory / "logs"
    make_directory(directory, 0o700)
    there = set(await asyncio.to_thread(lambda: [path.name for path in directory.glob("*")]))
    known = {pod.config.metadata.uid for pod in await client.list_pod_sandboxes()}  # Asked after the look: none is new.
    for name in there - known:
        await remove_tree(directory / name)
    return directory


def _print(manifest: Manifest, form: str) -> None:
    """Print the pod and the objects that it uses, as `run -` reads them."""
    used = (manifest.config_maps, manifest.secrets, manifest.claims)
    objects = [manifest.pod, *(found for kind in used for found in kind.values())]
    documents = [plain(found.at) for found in objects]
    terminal.result(dump(*documents).rstrip() if form == "yaml" else "\n".join(map(_json, documents)))


def _json(document: Any) -> str:
    return json.dumps(document, indent=2)


@asynccontextmanager
async def _daemon(client: CriClient, instance: Instance, config: Config) -> AsyncIterator[PodRuntime]:
    """The daemon; it writes logs, which are read and then removed, unless the pod stays."""
    make_directory(instance.logs, 0o700)
    try:
        yield DaemonRuntime(client, client_tls(config.streaming))
    finally:
        shutil.rmtree(instance.logs, ignore_errors=True)


def _read(file: str, option: str = "") -> tuple[str, str]:
    """Return a document's name for messages, and its text. End the process if it cannot be read.

    `option` names the document where it is not one of manifests.
    """
    path = Path(file)
    try:
        if file == "-":
            return "standard input", sys.stdin.read()
        return file, read_regular(path, _MOST, follow=True).decode()
    except (OSError, UnicodeDecodeError) as error:
        hint = "" if path.is_file() else _meant(file) or "`vmsandbox run -` reads standard input"
        if option:
            hint = f"{option} names a text file of UTF-8"
        elif isinstance(error, UnicodeDecodeError):
            hint = f"if {file} is meant as an image, name its registry: docker.io/library/{path.name}"
        execution.fail(NotFound(f"{file} cannot be read: {reason(error)}", hint=hint), execution.RUN_FAILED)


def _meant(word: str) -> str:
    """The file that a word may have meant that is not the name of a file."""
    path = Path(word)
    try:
        beside = [file.name for file in path.parent.iterdir() if file.is_file()]
    except OSError:
        return ""
    near = [name for name in beside if Path(name).stem == path.name] or difflib.get_close_matches(path.name, beside)
    return f"did you mean the file {path.parent / near[0]}?" if near else ""


def _settings(config: Config) -> PlanSettings:
    return PlanSettings(
        uid=str(uuid.uuid4()),
        dns=host_dns(),
        node_name=os.uname().nodename,
        handlers=config.machine_handlers,
        vcpus=config.machine.vcpus,
        memory=config.machine.memory,
    )
