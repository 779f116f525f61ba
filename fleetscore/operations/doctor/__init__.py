"""What the doctor asks: whether a deployment has what it needs, one finding after the other."""
