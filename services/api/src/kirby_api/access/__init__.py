"""Who may do what: accounts, sessions, tokens, and the permission that every route declares."""
