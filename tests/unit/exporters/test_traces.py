"""Traces, received by a collector over a real connection."""

import asyncio
import importlib.util
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from cri_api.v1 import api_pb2 as api

from tests.fakes.host import FakeWorld, app
from tests.support.certificates import certificate
from tests.support.collector import collecting
from tests.support.scraping import free_port
from tests.unit.exporters.conftest import daemon_of
from vmsandbox import log
from vmsandbox.config import Config, TracesConfig
from vmsandbox.errors import FailedPrecondition
from vmsandbox.exporters.traces import check_installed

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{CALLER}-01"


def traced_to(endpoint: str, **settings: Any) -> Config:
    return Config(traces=TracesConfig(endpoint, **settings))


def attributes(span: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in span.attributes}


async def test_a_call_is_a_span_of_its_callers_trace_with_the_steps_below(world: FakeWorld) -> None:
    with collecting() as (collector, endpoint):
        async with daemon_of(world, traced_to(endpoint)) as daemon:
            sandbox = await daemon.run_pod("web", traceparent=SAMPLED)
    call = collector.named("RunPodSandbox")
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (TRACE, CALLER)
    steps = {"admission", "network", "vsock", "disk", "domain", "boot", "configure"}
    clock = {"agent: read_clock", "agent: adjust_clock"}  # The first look at it may come before the call has ended.
    assert collector.children("RunPodSandbox") - clock == steps
    assert collector.children("boot") == {"kernel", "agent"}
    assert collector.children("configure") == {"agent: configure_guest", "agent: use_processors"}
    assert attributes(call)["k8s.pod.name"] == "web"
    assert attributes(collector.named("boot"))["vmsandbox.sandbox.id"] == sandbox
    for span in (span for span in collector.spans if span.name not in clock):
        assert call.start_time_unix_nano - 1e6 <= span.start_time_unix_nano <= span.end_time_unix_nano, span.name
        assert span.end_time_unix_nano <= call.end_time_unix_nano + 1e6, span.name


async def test_a_container_is_traced_from_its_call_to_the_agent(world: FakeWorld) -> None:
    with collecting() as (collector, endpoint):
        async with daemon_of(world, traced_to(endpoint)) as daemon:
            sandbox = await daemon.run_pod()
            collector.spans.clear()
            wanted = api.ContainerConfig(metadata=api.ContainerMetadata(name="app"))
            wanted.image.image = app().image
            await daemon.runtime.CreateContainer(
                api.CreateContainerRequest(pod_sandbox_id=sandbox, config=wanted), metadata=(("traceparent", SAMPLED),)
            )
    spans = {span.name for span in collector.spans if span.trace_id.hex() == TRACE}
    assert {"CreateContainer", "plug", "mount", "devices", "create", "agent: create_container"} <= spans
    assert collector.children("create") == {"agent: create_container"}
    assert collector.children("agent: create_container") == {"guest: work"}


@pytest.mark.parametrize(
    ("sampling", "traceparent", "traced"),
    [(1, "", True), (0, "", False), (0, SAMPLED, True), (1, SAMPLED[:-1] + "0", False), (1, "nonsense", True)],
)
async def test_the_caller_decides_what_is_traced_and_else_the_sampling(
    world: FakeWorld, sampling: float, traceparent: str, traced: bool
) -> None:
    with collecting() as (collector, endpoint):
        async with daemon_of(world, traced_to(endpoint, sampling=sampling)) as daemon:
            await daemon.run_pod(**({"traceparent": traceparent} if traceparent else {}))
    assert ("RunPodSandbox" in {span.name for span in collector.spans}) == traced


async def test_calls_that_only_ask_begin_no_trace(world: FakeWorld) -> None:
    with collecting() as (collector, endpoint):
        async with daemon_of(world, traced_to(endpoint)) as daemon:
            await daemon.runtime.ListPodSandbox(api.ListPodSandboxRequest())
            headers = (("traceparent", SAMPLED),)
            await daemon.runtime.Version(api.VersionRequest(), metadata=headers)
    assert [span.name for span in collector.spans] == ["Version"]


async def test_what_goes_on_after_a_call_is_not_part_of_its_trace(world: FakeWorld) -> None:
    with collecting() as (collector, endpoint):
        async with daemon_of(world, traced_to(endpoint)) as daemon:
            sandbox = await daemon.run_pod()
            end = time.time_ns()
            await daemon.service.measure_containers([sandbox])
            await daemon.service.stop_pod_sandbox(sandbox)
    assert [span.name for span in collector.spans if span.start_time_unix_nano > end] == []


async def test_a_collector_that_hangs_holds_no_call_up_and_the_daemon_ends(world: FakeWorld) -> None:
    log.configure("warning")
    with collecting() as (collector, endpoint):
        collector.hang = True
        async with daemon_of(world, traced_to(endpoint)) as daemon:
            for name in ("one", "two", "three"):
                await asyncio.wait_for(daemon.run_pod(name), 20)
            begin = time.monotonic()
        assert time.monotonic() - begin < 15


async def test_nobody_who_collects_fails_no_call(world: FakeWorld) -> None:
    log.configure("warning")
    async with daemon_of(world, traced_to(f"127.0.0.1:{free_port()}")) as daemon:
        assert await asyncio.wait_for(daemon.run_pod(), 20)


async def test_spans_are_sent_by_tls_to_a_collector_of_the_configured_authority(
    world: FakeWorld, tmp_path: Path
) -> None:
    pem, key = certificate(tmp_path, "collector")
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), pem.read_bytes())])
    with collecting(credentials) as (collector, endpoint):
        async with daemon_of(world, traced_to(endpoint, ca=pem)) as daemon:
            await daemon.run_pod()
    assert collector.named("RunPodSandbox")


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    check_installed()
    found = importlib.util.find_spec

    def without(name: str) -> Any:
        if name.startswith("opentelemetry.exporter"):
            raise ModuleNotFoundError(name)
        return found(name)

    monkeypatch.setattr("importlib.util.find_spec", without)
    with pytest.raises(FailedPrecondition, match=r"not installed: opentelemetry-exporter-otlp-proto-grpc$") as caught:
        check_installed()
    assert "vmsandbox[traces]" in caught.value.hint
