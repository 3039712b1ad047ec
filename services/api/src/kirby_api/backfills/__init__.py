"""Backfills as REST shows them: planning one, reading them, and the forms."""
