"""What is installed on Ray nodes: the gateway, the stack actors, and the shim under them."""
