"""The plan of a pod: pure functions of its manifest and of the settings of the host; nothing is read or made."""
