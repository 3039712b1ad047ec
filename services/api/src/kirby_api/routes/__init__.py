"""HTTP: each router translates requests into use cases, and declares the permission of every route."""
