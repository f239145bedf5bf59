"""vmsandbox beside containerd with runc, in one run: `make bench`, or `python -m tests.performance.bench --help`.

Both runtimes get the same calls, alternately, on the same host at the same load. Seconds depend on both, so that only
the ratios count; nothing is asserted about them. `docs/performance.md` has the figures.
"""
