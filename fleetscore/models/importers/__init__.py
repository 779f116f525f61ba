"""Model files and estimators of other libraries, compiled to plain arrays."""
