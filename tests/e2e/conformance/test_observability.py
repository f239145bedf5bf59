"""The daemon's own metrics and traces, with real machines: scraped over TLS, and sent to a collector."""

from cri_api.v1 import api_pb2 as pb

from tests.e2e.conformance.conftest import Scraped
from tests.standins.images import BUSYBOX
from tests.support.collector import Collector
from tests.support.conformance_client import Cri, Pod
from tests.support.scraping import value
from tests.support.waiting import eventually

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACED = (("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"),)


def test_a_scrape_tells_how_machines_booted_and_what_runs(metrics: Scraped, cri: Cri, pod: Pod) -> None:
    found = metrics.scrape()
    ready = sum(each.state == pb.SANDBOX_READY for each in cri.runtime.ListPodSandbox(pb.ListPodSandboxRequest()).items)
    assert value(found, "vmsandbox_sandboxes", state="ready") == ready >= 1
    boots = value(found, "vmsandbox_boot_duration_seconds_count")
    phases = ("prepare", "machine", "kernel", "agent", "configure")
    parts = [value(found, "vmsandbox_boot_phase_duration_seconds_sum", phase=phase) for phase in phases]
    assert boots >= 1 and all(part > 0 for part in parts)
    assert abs(sum(parts) - value(found, "vmsandbox_boot_duration_seconds_sum")) < 0.01
    assert value(found, "vmsandbox_libvirt_up") == 1
    (build,) = [dict(labels) for name, labels in found if name == "vmsandbox_build_info"]
    assert build["libvirt"][0].isdigit() and build["qemu"][0].isdigit()
    assert value(found, "vmsandbox_agent_requests_total", method="configure_guest", code="ok") >= boots
    committed, budget = (value(found, f"vmsandbox_admission_memory_{name}_bytes") for name in ("committed", "budget"))
    assert 0 < committed <= budget


def test_pulls_count_with_the_bytes_that_were_fetched(metrics: Scraped, cri: Cri) -> None:
    cri.pull(BUSYBOX)
    before = metrics.scrape()
    cri.pull(BUSYBOX)
    after = metrics.scrape()
    assert value(after, "vmsandbox_image_pulls_total", code="ok") == 1 + value(
        before, "vmsandbox_image_pulls_total", code="ok"
    )
    fetched = [value(found, "vmsandbox_image_pull_bytes_total") for found in (before, after)]
    assert fetched[0] == fetched[1] > 0, "the layers were there already"


def test_a_call_is_traced_from_its_caller_into_the_guest(collected: tuple[Collector, str], pod: Pod) -> None:
    collector, _ = collected
    pod.cri.pull(BUSYBOX)
    config = pb.ContainerConfig(metadata={"name": "traced"}, image={"image": BUSYBOX}, command=["true"])
    request = pb.CreateContainerRequest(pod_sandbox_id=pod.id, config=config, sandbox_config=pod.config)
    created = pod.cri.runtime.CreateContainer(request, metadata=TRACED)
    try:
        eventually(lambda: "CreateContainer" in {span.name for span in collector.spans}, 30)
    finally:
        pod.cri.runtime.RemoveContainer(pb.RemoveContainerRequest(container_id=created.container_id))
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    assert collector.children("CreateContainer") == {"plug", "mount", "devices", "create"}
    assert collector.children("create") == {"agent: create_container"}
    assert collector.children("agent: create_container") == {"guest: bundle", "guest: crun"}
    crun, call = collector.named("guest: crun"), collector.named("agent: create_container")
    assert call.start_time_unix_nano <= crun.start_time_unix_nano < crun.end_time_unix_nano <= call.end_time_unix_nano
