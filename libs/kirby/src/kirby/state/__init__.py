"""State, a table that remembers: the rule of its log, the log's records, and the table that scripts work with.

`rule` and `records` are pure and import no driver: the api's recorder folds by the same two modules.
"""
