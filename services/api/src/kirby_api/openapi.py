"""`python -m kirby_api.openapi`: prints the OpenAPI document; needs no store. The web client is generated from it."""

import json
import sys
from importlib.metadata import version

from kirby_api.app import create_app


def main() -> None:
    app = create_app(None, version=version("kirby-api"))
    sys.stdout.write(json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
