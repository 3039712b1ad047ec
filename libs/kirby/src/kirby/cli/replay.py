"""`kirby replay`: copy stored messages elsewhere."""

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from kirby.cli.client import Client
from kirby.cli.errors import CommandError, Unreachable, UsageError
from kirby.cli.moments import moment
from kirby.cli.options import Home, Output, connect
from kirby.cli.replay_source import ApiSource
from kirby.cli.show import print_item
from kirby.cli.suite import Suite, recorded
from kirby.errors import KafkaUnavailable, KirbyError
from kirby.replaying.copying import Tally, replay
from kirby.replaying.folder import FolderTarget
from kirby.replaying.ports import Source, Target

app: App = App(name="replay", help="Copy stored messages to another environment, or into a folder.")
_WIDTH = 30
_PROD = {"topic_prefix": "", "kafka_bootstrap_servers": None}
"""What `prod` is before anybody has made it: scripts may write there already."""


@app.default
def replay_(
    *topics: Annotated[str, Parameter(help="The topics, without prefix.")],
    to_folder: Annotated[Path | None, Parameter(help="Into this folder, as topics/TOPIC/NNN.json for tests.")] = None,
    to: Annotated[str | None, Parameter(help="To this environment of the suite at --home or KIRBY_URL.")] = None,
    from_: Annotated[
        str | None,
        Parameter(name="--from", help="The address of the suite to read from, with KIRBY_FROM_TOKEN; else here."),
    ] = None,
    bootstrap: Annotated[str | None, Parameter(help="Read from this Kafka instead, without an api.")] = None,
    env: Annotated[str, Parameter(help="The environment to read from.")] = "prod",
    since: Annotated[str | None, Parameter(allow_leading_hyphen=True, help="From this instant on, or -1h.")] = None,
    until: Annotated[str | None, Parameter(allow_leading_hyphen=True, help="Until before this instant.")] = None,
    rate: Annotated[float | None, Parameter(help="So many messages a second at most.")] = None,
    again: Annotated[bool, Parameter(negative="", help="Copy also what an earlier replay has copied.")] = False,
    live: Annotated[bool, Parameter(negative="", help="Do not flag what is copied as a re-run.")] = False,
    home: Home = None,
    output: Output = "table",
) -> int:
    """Copy stored messages to another environment, or into a folder for tests; nothing is written at the source.

    Asked for again, it goes on where it was. What is copied to an environment is flagged as a re-run, so that side
    effects are held back there. A replay into prod is refused.
    """
    if not topics or (to is None) == (to_folder is None):
        raise UsageError("Name the topics, and either --to ENV or --to-folder DIR")
    if from_ is not None and bootstrap is not None:
        raise UsageError("Say where to read from in one way: --from, an api, or --bootstrap, a Kafka")
    try:
        source = _source(from_, bootstrap, env=env, home=home)
        target = _folder(to_folder) if to_folder is not None else _environment(
            str(to), source, topics, env=env, flag=not live, again=again, home=home
        )  # fmt: skip
        try:
            tallies = replay(
                source, target, topics, since=_instant(since, "--since"), until=_instant(until, "--until"), rate=rate,
                told=_told,
            )  # fmt: skip
        finally:
            target.close()
            source.close()
    except KirbyError as error:
        raise CommandError(str(error)) from error
    _print(tallies, output=output)
    return 0


def _source(address: str | None, bootstrap: str | None, *, env: str, home: Path | None) -> Source:
    if bootstrap is not None:
        from kirby._confluent import Confluent
        from kirby.replaying.kafka import KafkaSource

        try:
            return KafkaSource(Confluent(bootstrap), prefix="" if env == "prod" else f"{env}.")
        except KafkaUnavailable as error:
            raise Unreachable(f"No Kafka answers at {bootstrap}: is --bootstrap right?") from error
    return ApiSource(connect(home) if address is None else Client(_other_suite(address)), env=env)


def _other_suite(address: str) -> Suite:
    """The one at --from. Raises UsageError."""
    token = os.environ.get("KIRBY_FROM_TOKEN")
    if not token:
        raise UsageError("KIRBY_FROM_TOKEN is not set: it is a token of the suite to read from (`kirby tokens add`)")
    return Suite(
        address.rstrip("/"), token, if_absent="is --from right?", named_by="--from", proved_by="KIRBY_FROM_TOKEN"
    )


def _folder(folder: Path) -> Target:
    folder.mkdir(parents=True, exist_ok=True)
    return FolderTarget(folder)


def _environment(
    to: str, source: Source, topics: Sequence[str], *, env: str, flag: bool, again: bool, home: Path | None
) -> Target:
    """An environment of one's own suite, once it is known not to be production. Raises ReplayRefused."""
    from kirby._confluent import Confluent
    from kirby.replaying.kafka import KafkaTarget, refuse_unsafe
    from kirby.replaying.ports import Site

    if to == "prod":
        refuse_unsafe(Site("", ""), env=to, production=Site("", ""), source=Site("", ""))
    with connect(home) as client:
        known = {one["name"]: one for one in client.pages("/environments")}
    if to not in known:
        raise UsageError(
            f"There is no environment {to!r} here: `kirby envs` lists them, `kirby envs add {to}` makes it"
        )
    known.setdefault("prod", _PROD)
    servers = {name: one["kafka_bootstrap_servers"] or _own_kafka(home) for name, one in known.items()}
    way = Confluent(servers[to])
    here = Site(way.admin().cluster_id(), known[to]["topic_prefix"])
    cluster = here.cluster if servers["prod"] == servers[to] else Confluent(servers["prod"]).admin().cluster_id()
    production = Site(cluster, known["prod"]["topic_prefix"])
    origin = source.extent(topics[0], since=None, until=None).site
    refuse_unsafe(here, env=to, production=production, source=origin)
    return KafkaTarget(way, prefix=here.prefix, origin=env, flag=flag, again=again)


def _own_kafka(home: Path | None) -> str:
    """The suite's. A home knows its own; this shell's variable may be meant for scripts, and name another."""
    known = recorded(home).get("env", {}).get("KAFKA_BOOTSTRAP_SERVERS") or os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if not known:
        raise UsageError("KAFKA_BOOTSTRAP_SERVERS is not set: it is the Kafka of the environment to copy to")
    return str(known)


def _instant(text: str | None, option: str) -> datetime | None:
    return None if text is None else datetime.fromisoformat(moment(text, option=option))


def _told(tally: Tally) -> None:
    if sys.stderr.isatty():
        filled = _WIDTH * tally.passed // max(tally.total, 1)
        bar = f"{'▇' * filled}{'·' * (_WIDTH - filled)} {tally.passed} of {tally.total}"
        end = "\n" if tally.passed >= tally.total else ""
        print(f"\r\x1b[K{tally.topic} {bar}", end=end, file=sys.stderr, flush=True)


def _print(tallies: Sequence[Tally], *, output: str) -> None:
    if output == "json":
        items = [
            {"topic": t.topic, "copied": t.copied, "copied_before": t.before, "total": t.total, "expired": t.expired}
            for t in tallies
        ]
        return print_item({"items": items}, output=output)
    for tally in tallies:
        before = f"; {tally.before} offsets had been copied before" if tally.before else ""
        left = ", all that is left of that time: its retention has deleted older ones" if tally.expired else ""
        print(f"{tally.topic}: {tally.copied} messages copied{left}{before}")
