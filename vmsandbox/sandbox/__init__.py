"""The life of one pod: its machine, its containers, their logs."""
