"""The Kirby worker: builds environments, runs scripts, streams their logs."""
