"""What needs attention, and how windows stand: the calendar, the overview, and what is muted."""
