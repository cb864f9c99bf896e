"""Tests of judgement against truth and noise."""
