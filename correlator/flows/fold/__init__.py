"""Ordinary connections, folded while their files are read."""
