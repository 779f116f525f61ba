"""Records of runs and what is read from them: index, status, timeline, manifests, published results."""
