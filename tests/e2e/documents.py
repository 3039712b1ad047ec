"""Runs what the pages tell a reader to type, and compares what comes with what they show.

In a ```console block a line that begins with `$ ` is typed (with those that begin with `> ` as its continuation), and
the lines up to the next one are what is to be seen; `…` stands for anything, and on a line of its own for any lines.
A block is not run when the line before it is a comment `<!-- not run: why -->`. A block after `<!-- file: NAME -->` is
written to that file.
"""

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>not run|file): (?P<what>[^>]+?) -->\n)?^```(?P<kind>\w+)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class File:
    name: str
    text: str


@dataclass(frozen=True)
class Typed:
    command: str
    shown: tuple[str, ...]


def steps(page: str) -> Iterator[File | Typed]:
    """What a reader does, in the order of the page."""
    for block in _BLOCK.finditer(page):
        if block["mark"] == "not run":
            continue
        if block["mark"] == "file":
            yield File(block["what"], block["body"])
        elif block["kind"] == "console":
            yield from _typed(block["body"])


def _typed(body: str) -> Iterator[Typed]:
    command: list[str] = []
    shown: list[str] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            if command:
                yield Typed("\n".join(command), tuple(shown))
            command, shown = [line[2:]], []
        elif line.startswith("> ") and not shown:
            command.append(line[2:])
        else:
            shown.append(line)
    if command:
        yield Typed("\n".join(command), tuple(shown))


def fits(output: str, shown: tuple[str, ...]) -> bool:
    """Whether the output is what the page shows, empty lines apart. A page that shows nothing fits anything."""
    wanted = [line for line in shown if line.strip()]
    if not wanted:
        return True
    came = "".join(f"{line}\n" for line in output.splitlines() if line.strip())
    pattern = ""
    for line in wanted:
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
            continue
        words = [r"\s+".join(map(re.escape, part.split())) for part in line.split("…")]
        pattern += r"\s*" + r".*".join(words) + r"\s*\n"
    return re.fullmatch(pattern, came) is not None


def follow(
    page: Path,
    *,
    folder: Path,
    env: Mapping[str, str],
    instead: Mapping[str, str] | None = None,
    timeout_s: float = 120,
) -> int:
    """Does what the page says, in the folder; returns the number of commands. Fails where the page is wrong.

    `instead`: words of commands that stand for something else here, such as a port that is free on this machine.
    """
    done = 0
    variables: dict[str, str] = {}
    for step in steps(page.read_text()):
        if isinstance(step, File):
            (folder / step.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / step.name).write_text(step.text)
            continue
        command = step.command
        for theirs, ours in (instead or {}).items():
            command = command.replace(theirs, ours)
        variables |= _type(
            Typed(command, step.shown), folder=folder, env={**env, **variables}, timeout_s=timeout_s, page=page.name
        )
        done += 1
    assert done, f"{page.name} has no command"
    return done


def _type(step: Typed, *, folder: Path, env: Mapping[str, str], timeout_s: float, page: str) -> dict[str, str]:
    """Runs one command in bash; returns what it exported, for the next ones."""
    print(f"{time.strftime('%X')} $ {step.command}", flush=True)
    marker = "-- variables --"
    script = f"{step.command}\ncode=$?\necho\necho '{marker}'\nenv -0\nexit $code"
    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    output, _, exported = ran.stdout.rpartition(f"\n{marker}\n")
    wants_failure = any(line.startswith("exit code ") for line in step.shown)
    shown = tuple(line for line in step.shown if not line.startswith("exit code "))
    told = f"{page}: $ {step.command}\nexit code {ran.returncode}, output:\n{output}"
    assert fits(output, shown), f"{told}\nshown:\n" + "\n".join(shown)
    assert wants_failure or ran.returncode == 0, told
    pairs = (pair.partition("=") for pair in exported.split("\0") if "=" in pair)
    return {name: value for name, _, value in pairs if name not in ("_", "SHLVL", "PWD", "OLDPWD")}
