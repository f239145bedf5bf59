"""vmsandbox run: its options, its work, and its output."""
