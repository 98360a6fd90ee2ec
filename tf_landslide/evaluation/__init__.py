"""Judging: dataset-level scores, the threshold, intervals, reports and figures."""
