"""The `kirby` command."""
