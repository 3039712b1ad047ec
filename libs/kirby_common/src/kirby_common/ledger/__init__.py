"""The ledger: Kirby's tables in PostgreSQL, their migrations, and every transition of a run.

For the api and the scheduler only; workers reach it through the worker endpoint.
"""
