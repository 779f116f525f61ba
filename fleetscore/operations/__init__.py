"""What keeps a fleet of runs healthy: attention, doctor, watchdog, due and late windows, housekeeping,
notices.
"""
