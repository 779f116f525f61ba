"""A local host for Python v2-model Azure Functions apps with Durable Functions, kept in one SQLite file.

It loads an unmodified `function_app.py`, serves its triggers and drives its orchestrations the way the
Functions host and the Durable extension do. It knows nothing of any particular app.
"""
