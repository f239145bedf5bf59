"""vmsandbox lab: several hosts by ssh."""
