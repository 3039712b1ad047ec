"""The shim: the small process that is a script's parent, and outlives the worker. Standard library only."""
