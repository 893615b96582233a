"""The version, for whatever says who wrote something."""

__version__ = "0.1.0"
