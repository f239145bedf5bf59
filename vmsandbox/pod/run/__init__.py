"""Running a planned pod: its volumes on the host, its sandbox and its containers, to their end."""
