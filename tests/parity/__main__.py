"""Say the table: `python -m tests.parity --list`."""

import argparse
import sys

from tests.parity.table import BEHAVIOURS


def main() -> None:
    """Print each behaviour with its source, and why its answer differs where it does."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("--list", action="store_true", required=True, help="say each behaviour with its source")
    parser.parse_args()
    for behaviour in BEHAVIOURS:
        differs = f"\n    differs: {behaviour.differs}" if behaviour.differs else ""
        sys.stdout.write(f"{behaviour.name}\n    source: {behaviour.source}{differs}\n")


if __name__ == "__main__":
    main()
