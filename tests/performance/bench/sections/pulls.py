"""Pulls, until a container runs of the image."""

from tests.performance.bench.figures import Report
from tests.performance.bench.images import large_image
from tests.performance.bench.runtimes import Runtimes, timed
from tests.standins.images import BUSYBOX, DIFFERENT
from tests.support.conformance_client import Container, Pod


def measure(both: Runtimes, report: Report) -> None:
    """Measure pulls of what is there, of a small image, and of one of 150 MB."""
    large = large_image(both)
    pods = {side: cri.run_pod() for side, cri in both.both().items()}
    for cri in both.both().values():
        cri.remove_image(large)  # another section may have pulled it
    found: dict[str, list[tuple[str, float]]] = {side: [] for side in pods}
    for side, cri in both.each(report.repetitions):
        found[side] += [
            ("an image that is there", timed(cri.pull, BUSYBOX)),
            ("a small image", timed(cri.pull, DIFFERENT[0])),
            *_until_it_runs(pods[side], large),
        ]
        cri.remove_image(DIFFERENT[0])
    for pod in pods.values():
        pod.remove()
    report.compare("pulls", found)
    report.note_load()


def _until_it_runs(pod: Pod, image: str) -> list[tuple[str, float]]:
    pull = timed(pod.cri.pull, image)
    started: list[Container] = []
    start = timed(lambda: started.append(pod.start(image=image)))
    started[0].remove()
    pod.cri.remove_image(image)
    return [("an image of 150 MB", pull), ("an image of 150 MB, until a container runs", pull + start)]
