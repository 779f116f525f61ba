"""Compute: where shards are scored. Inline is an activity of the app; Batch runs the worker image on a pool."""
