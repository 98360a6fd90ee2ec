"""Judging: dataset-level scores, the threshold, intervals, what a model must beat, reports."""
