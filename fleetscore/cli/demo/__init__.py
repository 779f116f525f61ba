"""The demo: sample data, training and a backfill of each workload through the real function app, and what
came out of it.
"""
