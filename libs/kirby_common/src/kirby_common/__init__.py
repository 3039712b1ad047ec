"""What the Kirby services share: messages, topics, ports and adapters, settings, runtime, the ledger."""
