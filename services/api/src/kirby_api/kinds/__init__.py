"""The configured things: one class per kind says how it is found, shown, made, changed and removed."""
