"""States: their logs folded into tables, told in `.latest` topics, and what REST answers from the tables."""
