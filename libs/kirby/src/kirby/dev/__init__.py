"""`kirby dev`: the whole suite on one bare machine, every part real, in one folder."""
