"""Every metric of the daemon. docs/metrics.md has them from here (`tests/unit/exporters/test_page.py` holds it so)."""

from vmsandbox.telemetry.metric import QUICK, Counter, Gauge, Histogram, Metric

BUILD = Gauge(
    "vmsandbox_build_info",
    "Always 1; the labels say what runs here.",
    ("version", "libvirt", "qemu", "guest_image", "agent_build"),
)
LIBVIRT_UP = Gauge("vmsandbox_libvirt_up", "Whether libvirt has answered within ten seconds, when it was last asked.")
LOOP_DELAY = Histogram(
    "vmsandbox_event_loop_delay_seconds",
    "How late the daemon's event loop was, when it was looked at each second.",
    buckets=QUICK,
)

RPCS = Counter("vmsandbox_rpcs_total", "Calls of the CRI that have ended.", ("method", "code"))
RPC_SECONDS = Histogram(
    "vmsandbox_rpc_duration_seconds", "How long calls of the CRI took, without streams of events.", ("method",)
)
RPCS_RUNNING = Gauge("vmsandbox_rpcs_running", "Calls of the CRI that run now.")

SANDBOXES = Gauge("vmsandbox_sandboxes", "Sandboxes by state: a machine runs for each that is ready.", ("state",))
CONTAINERS = Gauge("vmsandbox_containers", "Containers by state.", ("state",))
CONTAINER_ENDS = Counter(
    "vmsandbox_container_ends_total",
    "Containers that have ended, by reason: Completed, Error, OOMKilled, StartError, SandboxDied, ContainerLost.",
    ("reason",),
)

BOOT_SECONDS = Histogram(
    "vmsandbox_boot_duration_seconds", "How long machines took from their first resource to a guest that is the pod."
)
BOOT_PHASE_SECONDS = Histogram(
    "vmsandbox_boot_phase_duration_seconds",
    "Boots by phase: prepare, machine, kernel, agent, configure. The kernel's part is the guest's own word.",
    ("phase",),
)
BOOTS_REPEATED = Counter(
    "vmsandbox_boots_repeated_total", "Machines that were booted once more, since the guest had died in its first boot."
)
STEP_SECONDS = Histogram(
    "vmsandbox_step_duration_seconds", "How long the steps of making pods and containers took.", ("step",)
)
STEP_FAILURES = Counter(
    "vmsandbox_step_failures_total", "Steps of making pods and containers that have failed.", ("step", "code")
)
TEMPLATES = Counter(
    "vmsandbox_machine_templates_total",
    "Machines that were begun, by whether there was a template: hit, missing (none is there, or none is of use; the "
    "machine is booted), off (the profile wants none).",
    ("result",),
)
TEMPLATES_MADE = Counter("vmsandbox_templates_made_total", "Templates that were made.")
TEMPLATES_DISCARDED = Counter(
    "vmsandbox_templates_discarded_total", "Templates that were thrown away, since no machine went on from them."
)
POOL_REQUESTS = Counter(
    "vmsandbox_pool_requests_total",
    "Pods of profiles with a pool, by whether a machine waited: hit, miss (the machine is got as without a pool).",
    ("result",),
)
POOL_MADE = Counter("vmsandbox_pool_machines_made_total", "Machines that have begun to wait.")
POOL_WAITING = Gauge(
    "vmsandbox_pool_machines", "Machines that wait, by the handlers that they wait for.", ("handlers",)
)
POOL_SIZE = Gauge("vmsandbox_pool_machines_wanted", "Machines that are to wait.", ("handlers",))
POOL_OLDEST = Gauge(
    "vmsandbox_pool_oldest_seconds",
    "How long ago the machine was made that waits longest; 0 if none waits.",
    ("handlers",),
)
POOL_MEMORY = Gauge("vmsandbox_pool_memory_bytes", "Memory of the host that machines take which wait.")
SANDBOX_FAILURES = Counter(
    "vmsandbox_sandbox_failures_total",
    "Sandboxes that failed while they were made (start), or after it (running): how the machine ended, by libvirt's "
    "word (crashed, failed, shutdown, destroyed, or memory_limit), or else the code of the error.",
    ("stage", "reason"),
)
TAKEN_BACK = Counter(
    "vmsandbox_sandboxes_taken_back_total",
    "Sandboxes of an earlier daemon, when this one has looked at them, by the state that they are in then.",
    ("state",),
)

ADMISSION_WAITING = Gauge("vmsandbox_admission_waiting", "Sandboxes that wait for memory.")
ADMISSION_COMMITTED = Gauge(
    "vmsandbox_admission_memory_committed_bytes",
    "Memory of the host that is committed to machines, with what it takes to run them.",
)
ADMISSION_BUDGET = Gauge("vmsandbox_admission_memory_budget_bytes", "Memory of the host that all machines may take.")
BOOTS_RUNNING = Gauge("vmsandbox_admission_boots_running", "Machines that boot now.")
BOOTS_MOST = Gauge("vmsandbox_admission_boots_limit", "Machines that may boot at the same time.")

PULLS = Counter("vmsandbox_image_pulls_total", "Pulls of images that have ended.", ("code",))
PULL_SECONDS = Histogram("vmsandbox_image_pull_duration_seconds", "How long pulls took that succeeded.")
PULL_BYTES = Counter(
    "vmsandbox_image_pull_bytes_total", "Bytes of layers that were fetched, as they are in the registry."
)

AGENT_REQUESTS = Counter(
    "vmsandbox_agent_requests_total", "Requests to agents in guests that have ended.", ("method", "code")
)
AGENT_SECONDS = Histogram(
    "vmsandbox_agent_request_duration_seconds",
    "The agents' round trips: from a request to its answer, with what the guest does for it.",
    ("method",),
)
AGENT_CONNECTIONS_LOST = Counter(
    "vmsandbox_agent_connections_lost_total", "Connections to agents that broke while their machines were needed."
)

ALL: tuple[Metric, ...] = tuple(value for value in tuple(globals().values()) if isinstance(value, Metric))
"""In the order of this file."""
