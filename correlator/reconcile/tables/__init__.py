"""What is told: the tables of an analysis."""
