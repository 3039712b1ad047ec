"""The web client is generated from `web/openapi.json`: it must be what the api serves."""

import json
from pathlib import Path

from kirby_api.app import create_app

SNAPSHOT = Path(__file__).parents[3] / "web/openapi.json"


def test_the_snapshot_is_the_apis_own_document() -> None:
    served = create_app(None, version="0").openapi()
    kept = json.loads(SNAPSHOT.read_text())
    served["info"].pop("version")
    kept["info"].pop("version")
    assert kept == json.loads(json.dumps(served)), "refresh it: npm --prefix web run snapshot"
