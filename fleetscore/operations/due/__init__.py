"""What is to be started: due windows and trainings, windows with complete data, late data, backfills;
deadlines.
"""
