"""The leader's loops: each reads, asks the domain, and writes in one transaction that checks the epoch."""
