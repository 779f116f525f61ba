"""Model sets, importers, and packs by model family."""
