"""What `kirby dev` says: one line per part, on a terminal and in a file alike."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from kirby.dev.parts import Part


class Screen:
    """Tells of the parts. `on_change` is called when a process came or went, to record it."""

    def __init__(self, out: TextIO, *, on_change: Callable[[], None]) -> None:
        self._out = out
        self._bold = out.isatty()
        self._on_change = on_change

    def say(self, line: str = "") -> None:
        print(line, file=self._out, flush=True)

    def strong(self, line: str) -> None:
        self.say(f"\033[1m{line}\033[0m" if self._bold else line)

    def to(self, out: TextIO) -> None:
        """From now on, tells it there."""
        self._out, self._bold = out, out.isatty()

    def ready(self, part: Part, *, after_s: float, again: bool) -> None:
        mark = "again after" if again else "ready after"
        self.say(f"  {part.name:<12} {part.version():<12} {mark} {after_s:.1f} s")
        self._on_change()

    def ended(self, part: Part, *, code: int, again_in_s: float) -> None:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        self.say(f"  {part.name:<12} {how}; starting it again in {again_in_s:.1f} s")

    def changed(self) -> None:
        self._on_change()


class Follower:
    """Prints what is added to the logs of a folder, each line with its part's name."""

    def __init__(self, folder: Path, *, only: str | None = None, out: TextIO | None = None) -> None:
        self._folder = folder
        self._pattern = f"{only or '*'}.log"
        self._out = out or sys.stdout
        self._seen = {path: path.stat().st_size for path in folder.glob(self._pattern)}

    def step(self) -> None:
        for path in sorted(self._folder.glob(self._pattern)):
            seen = self._seen.get(path, 0)
            if path.stat().st_size <= seen:
                continue
            with path.open("rb") as file:
                file.seek(seen)
                content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            self._seen[path] = seen + len(whole)
            for line in whole.decode(errors="replace").splitlines():
                print(f"{path.stem:>10} | {line}", file=self._out)
        self._out.flush()

    def run(self, *, every_s: float = 0.2) -> None:
        """Follows until interrupted."""
        while True:
            self.step()
            time.sleep(every_s)
