"""The worker image: what Azure Batch runs. `python -m worker_image` scores one shard and says so."""
