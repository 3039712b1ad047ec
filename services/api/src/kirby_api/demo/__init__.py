"""The demo: two import documents, and the example packages that they name."""
