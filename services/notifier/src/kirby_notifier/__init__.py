"""The Kirby notifier: tells people and systems what happened."""
