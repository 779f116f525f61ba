"""Notices: what people and systems receive when something needs attention, is published, or has recovered."""
