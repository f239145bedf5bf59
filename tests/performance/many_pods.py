"""How long ListPodSandbox takes while pods boot all at once, beside an idle daemon.

    python -m tests.performance.many_pods [PODS]

Under TCG the machines share the processors with the daemon and with this client: compare the ratios.
"""

import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tests.support.conformance import serving
from tests.support.conformance_client import Pod
from tests.support.listing import listing

IDLE = 5.0


def main(count: int) -> None:
    """Print a line for each of the two."""
    with serving() as daemon, ThreadPoolExecutor(count) as pool:
        with listing(daemon.cri) as idle:
            time.sleep(IDLE)
        begin = time.monotonic()
        with listing(daemon.cri) as busy:
            pods = list(pool.map(lambda _: daemon.cri.run_pod("small"), range(count)))
        taken = time.monotonic() - begin
        list(pool.map(Pod.remove, pods))
    sys.stdout.write(f"{count} pods READY after {taken:.0f} s\n")
    for what, took in (("idle", idle), ("booting", busy)):
        median, late = statistics.median(took), sorted(took)[int(len(took) * 0.99)]
        sys.stdout.write(
            f"ListPodSandbox, {what}: median {median * 1000:.1f} ms, p99 {late * 1000:.1f} ms, most {max(took):.3f} s; "
            f"{median / statistics.median(idle):.1f} of idle\n"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
