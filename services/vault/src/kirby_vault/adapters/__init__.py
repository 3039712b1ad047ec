"""The vault's ports on real stores."""
