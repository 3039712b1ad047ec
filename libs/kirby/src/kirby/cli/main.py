"""The entry point of `kirby`: finds the command, runs it, and turns every error into one sentence."""

import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from kirby.cli.errors import CommandError, ExitCode, UsageError
from kirby.cli.registry import DEV, LOCAL, SERVICES, LocalCommand

if TYPE_CHECKING:
    from cyclopts import App

_EPILOGUE = (
    "Exit codes: 0 done, 1 it failed (and said why), 2 wrong command line or setting, 3 no suite answers, 4 not found,"
    " 5 conflict, 6 not allowed. `kirby run` and `kirby trigger --wait` exit with the script's code."
)
_HELP_FLAGS = {"--help", "-h", "help"}
_COMPLETION = {"--install-completion", "__complete"}


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    tokens = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(_hoist_home(tokens))
    except CommandError as error:
        return _tell(str(error), code=error.code)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has gone: nothing more to say, and Python must not flush into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:
        if os.environ.get("KIRBY_DEBUG") or (tokens and tokens[0] in SERVICES):
            raise
        return _tell(f"kirby failed unexpectedly: {type(error).__name__}: {error} (KIRBY_DEBUG=1 shows where)", code=1)


def _tell(sentence: str, *, code: int) -> int:
    sys.stdout.flush()
    print(sentence, file=sys.stderr)
    if os.environ.get("KIRBY_DEBUG"):
        import traceback

        traceback.print_exc()
    return int(code)


def _hoist_home(tokens: list[str]) -> list[str]:
    """Accept `kirby --home H COMMAND` too, by moving it into the environment."""
    if tokens and tokens[0].startswith("--home="):
        os.environ["KIRBY_HOME"] = tokens[0].removeprefix("--home=")
        return tokens[1:]
    if len(tokens) > 1 and tokens[0] == "--home":
        os.environ["KIRBY_HOME"] = tokens[1]
        return tokens[2:]
    return tokens


def _dispatch(tokens: list[str]) -> int:
    command = tokens[0] if tokens else "--help"
    if command in {"--version", "-V"}:
        from kirby import __version__

        print(f"kirby {__version__}")
        return ExitCode.OK
    if command in _HELP_FLAGS:
        return _call(_root_for_help(), ["--help"])
    if command in _COMPLETION:
        return _call(_root_for_completion(), tokens)
    if command not in LOCAL | DEV | SERVICES:
        raise UsageError(_unknown(command))
    return _call(_root_for(command), tokens)


def _unknown(command: str) -> str:
    import difflib

    near = difflib.get_close_matches(command, [*LOCAL, *DEV, *SERVICES], n=1)
    hint = f"did you mean `kirby {near[0]}`?" if near else "`kirby --help` lists the commands."
    return f"There is no command `kirby {command}`: {hint}"


def _root_for(command: str) -> "App":
    """The root with the one command asked for: nothing else is imported."""
    root = _empty_root()
    root.command(_load(command), name=command)
    return root


def _empty_root() -> "App":
    from cyclopts import App

    return App(
        name="kirby",
        help="Deploy, schedule, run and watch plain Python scripts, and carry the data between them.",
        version_flags=[],
        help_format="plaintext",
        help_epilogue=_EPILOGUE,
    )


def _root_for_help() -> "App":
    """The root with the lines of every command, and none of them imported."""
    root = _empty_root()
    for name, command in (LOCAL | DEV | SERVICES).items():
        root.command(f"kirby.cli.main:{name}", name=name, help=command.help)
    root.register_install_completion_command(help="Install completion for the shell in use.")
    return root


def _root_for_completion() -> "App":
    """The root with every command that is installed; the others are left out."""
    root = _empty_root()
    for name in LOCAL | DEV | SERVICES:
        try:
            root.command(_load(name), name=name)
        except (UsageError, ImportError):
            continue
    root.register_install_completion_command()
    return root


def _load(name: str) -> Any:
    if name in SERVICES:
        return _load_service(name)
    return _load_dev(name, DEV[name]) if name in DEV else _load_dev(name, LOCAL[name])


def _load_service(name: str) -> Any:
    from importlib.metadata import entry_points

    service = SERVICES[name]
    for found in entry_points(group="kirby.commands", name=name):
        return found.load()
    raise UsageError(f"kirby {name} needs {service.what}: pip install 'kirby[{service.extra}]'")


def _load_dev(name: str, command: LocalCommand) -> Any:
    """A command of the extra `dev`; a library that is not there is named with the line that installs it."""
    import importlib

    module, _, attribute = command.target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name == module or (error.name or "").split(".")[0] == "kirby":
            raise
        raise UsageError(f"kirby {name} needs {error.name}: pip install 'kirby[dev]'") from error


def _call(app: "App", tokens: list[str]) -> int:
    from cyclopts import CycloptsError

    try:
        result = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        words = " ".join(["kirby", *(getattr(error, "command_chain", None) or tokens[:1])])
        raise UsageError(f"{_sentence(error, words)} See `{words} --help`.") from error
    sys.stdout.flush()
    return result if isinstance(result, int) else ExitCode.OK


def _sentence(error: Exception, words: str) -> str:
    """What is wrong with the command line, in the words of the command line."""
    from cyclopts import MissingArgumentError, UnusedCliTokensError

    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name = error.argument.name
        positional = error.argument.field_info.is_positional and not error.argument.field_info.is_keyword
        wanted = name.lstrip("-").upper() if positional or not name.startswith("--") else name
        given = set(error.argument.names) & set(error.root_input_tokens or ())
        return f"{words} needs a value for {given.pop()}." if given else f"{words} needs {wanted}."
    if isinstance(error, UnusedCliTokensError):
        return f"{words} does not understand {' '.join(error.unused_tokens or ())!r}."
    return " ".join(str(error).split())


def _exit() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    _exit()
