"""Fakes that pass the suites of their ports. For tests only."""
