"""Fleetscore scores fleets of models on a schedule and keeps one outcome for every partition."""

__version__ = "0.1.0"
