"""Copying stored messages elsewhere: to another environment, or into a folder."""
