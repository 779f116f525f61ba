"""What keeps a fleet of runs healthy, a folder for each question: what needs attention, what is due, how the
deployment stands (doctor), what is damaged (repair), what is sent to others (notices, metadata), which models
serve (champions); and beside them the timers' work: watchdog, housekeeping, ticks.
"""
