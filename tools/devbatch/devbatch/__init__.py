"""A local Azure Batch service: the REST interface on loopback, tasks as local processes.

The package stands on its own: it knows the public interface of Azure Batch and nothing of who calls it.
"""
