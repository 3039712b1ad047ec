"""Runs as REST shows them: reading, filtering, and what people ask of them."""
