"""Benchmarks, run by hand: `python -m tests.performance.NAME`. They print ratios and assert nothing about time."""
