"""Rewinds in shadow: what a run of one writes beside the originals, how it compares with them, and its promotion."""
