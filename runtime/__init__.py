"""Guarded inference at the edge: frames in, verdicts out."""
