"""What the vault decides, without a database or a network."""
