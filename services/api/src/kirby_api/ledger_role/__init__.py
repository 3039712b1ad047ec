"""The ledger role: the worker endpoint, and the recorder that projects log pointers.

A process of its own, so that a flood of browsers delays no beat.
"""
