"""The kind `models`: any model per partition, from one settings file; models lie in packs and score a shard
at once.
"""

NEEDS_SETTINGS = True
"""Without a settings file there are neither data nor models, so there is no workload of its own name."""
