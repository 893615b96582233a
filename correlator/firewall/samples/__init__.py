"""Readings of all counters, in order of time."""
