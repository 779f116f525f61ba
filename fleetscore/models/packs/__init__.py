"""Models as plain arrays, packed by family and scored for a whole shard at once."""
