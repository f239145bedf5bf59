"""The sections of a run: each module has functions that measure, and add their figures to a report."""
