"""Measures how training scales, with accelerators that wait as long as a profile says."""
