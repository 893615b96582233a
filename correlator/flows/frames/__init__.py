"""Frames as netfilter saw them: on which interface, in which direction, whole."""
