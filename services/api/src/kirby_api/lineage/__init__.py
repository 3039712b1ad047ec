"""Lineage: what processes have told is projected into tables, and answers where a message comes from and goes to."""
