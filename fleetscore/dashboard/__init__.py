"""The dashboard: what the store knows of workloads, runs and partitions, as one page of HTML that needs nothing else."""
