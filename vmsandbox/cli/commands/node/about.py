"""vmsandbox version and info: what this host and its daemon are."""

import asyncio
import os
import platform
import re
from collections import Counter
from collections.abc import Iterable, Iterator

import click

from vmsandbox.cli import terminal
from vmsandbox.cli.commands.daemon import ask_if_served
from vmsandbox.cli.commands.entries import Entry
from vmsandbox.cli.commands.formats import form_option, show_document
from vmsandbox.cli.options import Global, size
from vmsandbox.cri.client import CriClient
from vmsandbox.version import VERSION

_FORMS = ("text", "json", "yaml")
_HYPERVISOR = re.compile(r"libvirt (?P<libvirt>[0-9.]+), QEMU (?P<qemu>[0-9.]+)")
_NOT_SERVED = "no daemon serves; start it: `vmsandbox serve`"


@click.command()
@form_option(_FORMS)
@click.pass_obj
def version(options: Global, output: str) -> None:
    """Print the versions of vmsandbox, its daemon, libvirt, QEMU.

    Without a daemon, only the version of this command is known. Example: vmsandbox version -o json
    """

    async def work(client: CriClient | None) -> Entry:
        if client is None:
            return {"daemon": None, "libvirt": None, "qemu": None}
        return await _versions(client)

    shown: Entry = {"client": VERSION, **ask_if_served(options, work)}
    if output != "text":
        show_document(shown, output)
        return
    names = {"client": "Client", "daemon": "Daemon", "libvirt": "libvirt", "qemu": "QEMU"}
    _print((name, shown[key] or "unknown") for key, name in names.items())
    if shown["daemon"] is None:
        terminal.note(_NOT_SERVED)


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
    shown: Entry = {"client": client, "host": _host(), "daemon": ask_if_served(options, work)}
    if output != "text":
        show_document(shown, output)
        return
    _print(_lines(shown))
    if shown["daemon"] is None:
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
    yield "Pods", _number(daemon["pods"])
    yield "Containers", _number(daemon["containers"])
    yield "Images", f"{daemon['images']['count']}, {size(daemon['images']['size'])} in {daemon['imageDirectory']}"


def _ready(condition: Entry) -> str:
    return "ready" if condition["ready"] else f"not ready: {condition['message'] or 'unknown reason'}"


def _number(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state.lower()}" for state, count in sorted(counts.items())) or "none"


def _print(lines: Iterable[tuple[str, object]]) -> None:
    found = list(lines)
    width = max(len(name) for name, _ in found) + 1
    for name, text in found:
        terminal.result(f"{name + ':':{width}} {text}")
