"""What the notifier decides, without a database or a network."""
