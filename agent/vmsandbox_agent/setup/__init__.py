"""The setup that turns a booted kernel into a pod's machine: file systems, disks, network, names."""
