"""Server load: session logs to a load class (low, medium, high) per server and hour ahead."""
