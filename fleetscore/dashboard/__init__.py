"""The dashboard: what the store holds on workloads, runs and partitions, as one page of HTML that needs
nothing else.
"""
