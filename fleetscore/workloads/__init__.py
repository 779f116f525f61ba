"""The kinds of workload that ship, a folder each; the registry finds them here."""
