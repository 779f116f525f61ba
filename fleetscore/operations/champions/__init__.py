"""Champion and challenger: verdicts on what really came, promotion, and pins on request."""
