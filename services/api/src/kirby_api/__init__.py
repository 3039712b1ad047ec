"""The Kirby api: REST, web UI, worker endpoint and recorder."""
