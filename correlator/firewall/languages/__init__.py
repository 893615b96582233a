"""One reader for each way in which rules are written."""
