"""The Kirby vault: secrets with envelope encryption and access lists."""
