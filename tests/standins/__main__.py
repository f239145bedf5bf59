"""Builds the stand-in images where they are missing, and prints where they are."""

import sys

from tests.standins.registry import ensure_built

sys.stdout.write(f"{ensure_built()}\n")
