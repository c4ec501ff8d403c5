"""Answers, groups and reports as HTML."""
