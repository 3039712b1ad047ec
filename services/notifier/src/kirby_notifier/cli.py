"""`kirby notifier`."""

import sys
from typing import Annotated

from cyclopts import App, Parameter

app = App(name="notifier", help="Tell people and systems what happened: webhooks and e-mail, with a delivery log.")


@app.default
def notifier(
    *,
    host: Annotated[str, Parameter(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="The port to listen on; 0 picks a free one.")] = 8083,
    check: Annotated[bool, Parameter(help="Validate the settings, print ok, and connect to nothing.")] = False,
) -> int:
    """Tell people and systems what happened: webhooks and e-mail, with a delivery log."""
    from kirby_common.settings import WrongSettings, load

    from kirby_notifier.settings import NotifierSettings

    try:
        settings = load(NotifierSettings)
    except WrongSettings as error:
        return _tell(str(error), code=2)
    if check:
        print("ok")
        return 0

    from kirby_common.runtime import CannotListen, listen

    from kirby_notifier.main import run

    try:
        bound = listen(host, port)
    except CannotListen as error:
        return _tell(f"kirby notifier {error}", code=1)
    return run(settings, bound=bound)


def _tell(sentence: str, *, code: int) -> int:
    print(sentence, file=sys.stderr)
    return code
