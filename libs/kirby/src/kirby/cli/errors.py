"""How a command ends: its exit codes, and the error that carries one sentence for the user."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The documented exit codes of every command.

    `kirby run` and `kirby trigger --wait` exit with the script's own code instead, or 1 when it did not succeed.
    """

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_FOUND = 4
    CONFLICT = 5
    NOT_ALLOWED = 6
    INTERRUPTED = 130


class CommandError(Exception):
    """One sentence for the user, who reads nothing else, and the exit code of the command."""

    def __init__(self, sentence: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(sentence)
        self.code = code


class UsageError(CommandError):
    """The command line or a setting is wrong."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, ExitCode.USAGE)


class Unreachable(CommandError):
    """No suite answers at the address."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, ExitCode.UNREACHABLE)
