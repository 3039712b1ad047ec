"""`kirby vault`."""

import sys
from typing import Annotated

from cyclopts import App, Parameter

app = App(name="vault", help="Keep secrets, and hand them to the runs that hold a grant.")


@app.default
def vault(
    *,
    host: Annotated[str, Parameter(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="The port to listen on; 0 picks a free one.")] = 8082,
    check: Annotated[bool, Parameter(help="Validate the settings, print ok, and connect to nothing.")] = False,
) -> int:
    """Keep secrets, and hand them to the runs that hold a grant."""
    from kirby_common.settings import WrongSettings, load

    from kirby_vault.settings import VaultSettings, read_key

    try:
        settings = load(VaultSettings)
        key = read_key(settings.kirby_vault_key_file)
    except WrongSettings as error:
        return _tell(str(error), code=2)
    if check:
        print("ok")
        return 0

    from kirby_common.runtime import CannotListen, listen

    from kirby_vault.errors import WrongKey
    from kirby_vault.main import run

    try:
        bound = listen(host, port)
    except CannotListen as error:
        return _tell(f"kirby vault {error}", code=1)
    try:
        return run(settings, key=key, bound=bound)
    except WrongKey as error:
        return _tell(f"KIRBY_VAULT_KEY_FILE: {error}", code=2)


def _tell(sentence: str, *, code: int) -> int:
    print(sentence, file=sys.stderr)
    return code
