"""Say the table, or write what docs/limitations.md says of it: `python -m tests.parity --list`, `--limitations`."""

import argparse
import sys

from tests.parity.limitations import LIMITATIONS, updated
from tests.parity.table import BEHAVIOURS


def main() -> None:
    """Print each behaviour with its source and why its answer differs, or bring the documentation up to date."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--list", action="store_true", help="say each behaviour with its source")
    wanted.add_argument("--limitations", action="store_true", help="write those that differ into docs/limitations.md")
    if parser.parse_args().limitations:
        LIMITATIONS.write_text(updated(LIMITATIONS.read_text(), BEHAVIOURS))
        return
    for behaviour in BEHAVIOURS:
        differs = f"\n    differs: {behaviour.differs}" if behaviour.differs else ""
        sys.stdout.write(f"{behaviour.name}\n    source: {behaviour.source}{differs}\n")


if __name__ == "__main__":
    main()
