"""vmsandbox: a hypervisor-sandbox runtime for Kubernetes."""
