"""Requests to addresses that settings or callers name: what is refused, who sends, callbacks of ended
runs.
"""
