"""Exchanges with containerd 2.1.9 (crictl runp, create, start, exec, exec -it, update, stop, rm), as our log has them.

What differs from one run to the next is not in the recording: times, processes, addresses. BUNDLE is a directory.
"""

import json
import os
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.unit.containerd.conftest import World
from vmsandbox.containerd.messages import types_of
from vmsandbox.containerd.server import told

_RECORDED = Path(__file__).parents[1] / "golden/containerd"
_VARIES = {"exited_at", "created_at", "address", "pid", "shim_pid", "task_pid"}


def fill(message: Any, values: dict[str, Any]) -> Any:
    """Fill a message with what `told` made of one."""
    for name, value in values.items():
        if isinstance(value, dict):
            fill(getattr(message, name), value)
        elif isinstance(value, list):
            for each in value:
                if isinstance(each, dict):
                    fill(getattr(message, name).add(), each)
                else:
                    getattr(message, name).append(each)
        else:
            setattr(message, name, value.encode("latin-1") if name == "value" else value)
    return message


def make_bundle(directory: Path, fifos: list[str]) -> None:
    directory.mkdir()
    (directory / "config.json").write_text((_RECORDED / "config.json").read_text())
    (directory / "sandbox").write_text("sandbox")
    for path in fifos:
        os.mkfifo(path)


async def test_containerd_gets_the_answers_that_it_got(world: World, tmp_path: Path) -> None:
    text = (_RECORDED / "exchanges.json").read_text().replace("BUNDLE", str(tmp_path / "bundle"))
    exchanges = json.loads(text)
    fifos = [e["request"].get(name) for e in exchanges for name in ("stdin", "stdout", "stderr")]
    make_bundle(tmp_path / "bundle", sorted({path for path in fifos if path}))
    world.containerd.known |= {"sandbox", "container"}
    for exchange in exchanges:
        service, _, call = exchange["call"].partition("/")
        request = fill(types_of(service, call)[0](), exchange["request"])
        if "error" in exchange:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await world.client.send(service, call, request)
            assert error.value.code().name.lower() == exchange["error"], exchange
        else:
            answer = told(await world.client.send(service, call, request))
            assert {name: value for name, value in answer.items() if name not in _VARIES} == exchange["answer"], (
                exchange
            )
