"""vmsandbox version and info: what this host and its daemon are."""

import asyncio
import os
import platform
import re
from collections import Counter
from collections.abc import Iterable, Iterator

import click

from vmsandbox.cli import execution, terminal
from vmsandbox.cli.commands.daemon import ask_daemon
from vmsandbox.cli.commands.entries import Entry
from vmsandbox.cli.commands.formats import form_option, show_document
from vmsandbox.cli.options import Global, size
from vmsandbox.cri.client import CriClient
from vmsandbox.errors import VmsandboxError
from vmsandbox.version import VERSION

_FORMS = ("text", "json", "yaml")
_HYPERVISOR = re.compile(r"libvirt (?P<libvirt>[0-9.]+), QEMU (?P<qemu>[0-9.]+)")
_NOT_SERVED = "no daemon serves; start it: `vmsandbox serve`"


@click.command()
@form_option(_FORMS)
@click.pass_obj
def version(options: Global, output: str) -> None:
    """Print the versions of vmsandbox, its daemon, libvirt, QEMU.

    Without a daemon that answers, only the version of this command is known; a `vmsandbox run` has its own libvirt.

    Example: vmsandbox version -o json
    """

    async def work(client: CriClient | None) -> Entry | None:
        return None if client is None else await _versions(client)

    found, error = ask_daemon(options, work)
    shown: Entry = {"client": VERSION, **(found or {"daemon": None, "libvirt": None, "qemu": None})}
    names = {"client": "Client", "daemon": "Daemon", "libvirt": "libvirt", "qemu": "QEMU"}
    unknown = "unknown" if found or error else "not known without a daemon"
    words = shown if found or error else {**shown, "daemon": "none serves"}
    _show(shown, output, ((name, words[key] or unknown) for key, name in names.items()), error)


@click.command()
@form_option(_FORMS)
@click.pass_obj
def info(options: Global, output: str) -> None:
    """Print what this host and its daemon are, and what they have.

    Example: vmsandbox info -o yaml
    """

    async def work(client: CriClient | None) -> Entry | None:
        return None if client is None else await _daemon(client)

    client: Entry = {"version": VERSION, "python": platform.python_version()}
    found, error = ask_daemon(options, work)
    shown: Entry = {"client": client, "host": _host(), "daemon": found}
    _show(shown, output, _lines(shown), error)


def _show(shown: Entry, output: str, lines: Iterable[tuple[str, object]], error: VmsandboxError | None) -> None:
    """Print what is known; then say that no daemon serves, or end with the error of asking it."""
    if output != "text":
        show_document(shown, output)
    else:
        _print(lines)
    if error is not None:
        execution.fail(error, execution.FAILED)
    if shown["daemon"] is None and output == "text":
        terminal.note(_NOT_SERVED)


async def _versions(client: CriClient) -> Entry:
    daemon, status = await asyncio.gather(client.version(), client.status())
    found = _HYPERVISOR.search(status["info"].get("host", {}).get("hypervisor", ""))
    return {
        "daemon": daemon.removeprefix("vmsandbox "),
        "libvirt": found["libvirt"] if found else None,
        "qemu": found["qemu"] if found else None,
    }


async def _daemon(client: CriClient) -> Entry:
    """Describe the daemon: versions, what machines are made with, and how much there is."""
    status = await client.status()
    facts = status["info"].get("host", {})  # An older daemon does not tell it.
    conditions = {one["type"]: one for one in status["status"]["conditions"]}
    versions = await _versions(client)
    return {
        "version": versions["daemon"],
        "libvirt": versions["libvirt"],
        "qemu": versions["qemu"],
        "accelerators": facts.get("accelerators", {}),
        "guestImage": facts.get("guestImage", ""),
        "imageDirectory": facts.get("imageDirectory", ""),
        "handlers": [handler["name"] for handler in status["runtimeHandlers"]],
        "ready": _condition(conditions.get("RuntimeReady", {})),
        "network": _condition(conditions.get("NetworkReady", {})),
        "pools": facts.get("pools", []),
        **await _counts(client),
    }


async def _counts(client: CriClient) -> Entry:
    pods, containers, images = await asyncio.gather(
        client.list_pod_sandboxes(), client.list_containers(), client.images.list()
    )
    return {
        "pods": dict(Counter(pod.state.value.upper() for pod in pods)),
        "containers": dict(Counter(one.state.value.upper() for one in containers)),
        "images": {"count": len(images), "size": sum(image.size for image in images)},
    }


def _condition(condition: Entry) -> Entry:
    """Return a condition of the CRI; its message says why it is not met."""
    return {"ready": bool(condition.get("status")), "message": condition.get("message", "")}


def _host() -> Entry:
    """Describe this host, as this process sees it."""
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        system = ""
    return {
        "name": platform.node(),
        "system": system,
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cpus": os.cpu_count(),
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "kvm": os.access("/dev/kvm", os.R_OK | os.W_OK),
    }


def _lines(shown: Entry) -> Iterator[tuple[str, str]]:
    client, host, daemon = shown["client"], shown["host"], shown["daemon"]
    yield "Client", f"vmsandbox {client['version']}, Python {client['python']}"
    yield "Host", f"{host['name']}: {host['system']}, Linux {host['kernel']}, {host['architecture']}"
    yield "CPUs", str(host["cpus"])
    yield "Memory", size(host["memory"])
    yield "/dev/kvm", "may be opened" if host["kvm"] else "is not there, or may not be opened by this user"
    if daemon is not None:
        yield from _daemon_lines(daemon)


def _daemon_lines(daemon: Entry) -> Iterator[tuple[str, str]]:
    yield "Daemon", f"vmsandbox {daemon['version']}, {_ready(daemon['ready'])}"
    yield "Hypervisor", f"libvirt {daemon['libvirt'] or 'unknown'}, QEMU {daemon['qemu'] or 'unknown'}"
    for handler, accelerator in daemon["accelerators"].items():
        how = "emulated, slowly" if accelerator == "tcg" else "accelerated"
        yield f"Machines of {handler or '(default)'}", f"{accelerator} ({how})"
    yield "Handlers", ", ".join(name or "(default)" for name in daemon["handlers"])
    yield "Network", _ready(daemon["network"])
    yield "Guest image", daemon["guestImage"] or "unknown"
    for pool in daemon["pools"]:
        yield f"Pool of {', '.join(name or '(default)' for name in pool['handlers'])}", _pool(pool)
    yield "Pods", _number(daemon["pods"])
    yield "Containers", _number(daemon["containers"])
    yield "Images", f"{daemon['images']['count']}, {size(daemon['images']['size'])} in {daemon['imageDirectory']}"


def _pool(pool: Entry) -> str:
    oldest = f", the oldest for {pool['oldestSeconds']} s" if pool["waiting"] else ""
    return (
        f"{pool['waiting']} of {pool['size']} wait{oldest}; pods that found one: {pool['hits']}, none: {pool['misses']}"
    )


def _ready(condition: Entry) -> str:
    return "ready" if condition["ready"] else f"not ready: {condition['message'] or 'unknown reason'}"


def _number(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state.lower()}" for state, count in sorted(counts.items())) or "none"


def _print(lines: Iterable[tuple[str, object]]) -> None:
    found = list(lines)
    width = max(len(name) for name, _ in found) + 1
    for name, text in found:
        terminal.result(f"{name + ':':{width}} {text}")
