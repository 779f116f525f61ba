"""What is sent to lineage and experiment tracking about runs and model sets, each once, through an outbox."""
