"""The pod network: CNI plugins in a namespace of the host, a tap redirected to it."""
