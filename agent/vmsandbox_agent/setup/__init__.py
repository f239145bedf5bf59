"""What makes a booted kernel a pod's machine: file systems, disks, network, names."""
