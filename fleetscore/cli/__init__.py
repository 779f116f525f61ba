"""The command line: one module per group of commands; none imports more than click before its command
runs.
"""
