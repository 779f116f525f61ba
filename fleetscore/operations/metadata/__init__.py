"""What lineage and experiment tracking are told of runs and model sets, each once, through an outbox."""
