"""A local Azure Batch service: the REST interface on loopback, tasks as local processes.

The package is independent of its callers: it implements the public interface of Azure Batch only.
"""
