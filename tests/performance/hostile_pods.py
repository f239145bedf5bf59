"""A daemon that is killed and comes back beside pods of which some are hostile, each in another way.

    python -m tests.performance.hostile_pods [QUIET]

It prints how long everything took; the scenario is that of tests/e2e/test_recovery.py, with more pods.
"""

import sys

from tests.support.hostile_pods import come_back, company
from tests.support.restartable import restartable_node

WAYS = (
    "floods its output",
    "cannot be reached",
    "writes at the top of its share",
    "hangs",
    "has another agent, with strangers",
)


def main(quiet: int) -> None:
    """Print a line for each step."""

    def say(line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()

    with restartable_node() as node, company(node, quiet, WAYS, "small") as together:
        say(f"{len(together.pods)} pods run, {len(WAYS)} of them hostile\n")
        come_back(together, say)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
