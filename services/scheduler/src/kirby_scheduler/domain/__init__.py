"""The leader's decisions, pure: what is lost, what a daemon slot does next, who leads."""
