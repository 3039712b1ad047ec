"""The Kirby scheduler: leader, tick, relay, sweeper, reaper."""
