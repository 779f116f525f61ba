"""Damaged state: found file by file, and made anew from what else the store knows."""
