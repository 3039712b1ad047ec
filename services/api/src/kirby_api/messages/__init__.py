"""The messages of the scripts' own topics, as REST shows them: looked at, followed, compared."""
