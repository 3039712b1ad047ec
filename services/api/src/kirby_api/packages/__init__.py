"""Packages on their way to the private index."""
