"""The steps of a run, one verb per file: plan, prepare, score, collect, publish. Each may run twice and
does its work once.
"""
