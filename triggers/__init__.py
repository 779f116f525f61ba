"""Triggers: one blueprint per group of endpoints and timers of the app; `triggers.blueprints` lists them."""
