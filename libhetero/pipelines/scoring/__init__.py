"""Scores of a run against the truth of a simulated set."""
