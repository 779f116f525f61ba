"""Published results as pictures, one module per workload."""
