"""What the api does for its callers beyond single things: deploy, import, export, upload."""
