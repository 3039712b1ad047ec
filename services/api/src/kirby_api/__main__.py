"""`python -m kirby_api`: the roles without the `kirby` command; `kirby web` starts its children by it."""

from kirby_api.cli import api

if __name__ == "__main__":
    raise SystemExit(api())
