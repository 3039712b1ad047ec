"""The worker's decisions, pure: (state, event, now) in, (state, effects) out."""
