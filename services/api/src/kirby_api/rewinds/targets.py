"""Whom a rewind is about: the daemons that a topic's or a job's name stands for, by their groups' commits."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kirby_common.ledger import daemons
from kirby_common.ledger.daemons import DaemonRow
from kirby_common.ledger.health import SlotState
from kirby_common.ports import BusUnavailable, Commit, GroupLook, Place
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Caller, Permission
from kirby_api.access.permissions import Place as Where
from kirby_api.problems import Invalid, Unavailable
from kirby_api.rewinds.ports import GroupsOf
from kirby_api.rewinds.view import NewRewind


@dataclass(frozen=True)
class Target:
    """A daemon and what its group has committed, of the topics that are to be read again."""

    daemon: DaemonRow
    look: GroupLook
    commits: Mapping[Place, Commit]


async def find(db: AsyncSession, groups_of: GroupsOf, form: NewRewind, caller: Caller) -> list[Target]:
    """Those that the caller may look at; empty when the name stands for no daemon.

    Raises `Invalid` for a name that is not clear, `Unavailable` when Kafka does not answer.
    """
    everyone = [
        daemon
        for daemon in await daemons.load(db)
        if daemon.kafka != "none" and form.env in (None, daemon.env) and _may_see(caller, daemon)
    ]
    looks = await _looks(groups_of, everyone)
    jobs = [Target(d, looks[key(d)], looks[key(d)].commits) for d in everyone if d.job == form.target]
    readers = [_reading(d, looks[key(d)], form) for d in everyone if form.job in (None, d.job)]
    readers = [target for target in readers if target.commits]
    if jobs and readers and form.job is None:
        raise Invalid(
            f"'{form.target}' is a job and a topic: give --job with one of the topic's readers, or rename one"
        )
    if jobs and not readers:
        envs = sorted({target.daemon.env for target in jobs})
        if len(envs) > 1:
            raise Invalid(f"'{form.target}' runs in {', '.join(envs)}: give --env")
        return jobs
    return readers


def key(daemon: DaemonRow) -> tuple[str | None, str]:
    return daemon.kafka_bootstrap_servers, daemon.group_name


def is_up(daemon: DaemonRow) -> bool:
    return any(slot.facts.state is SlotState.UP for slot in daemon.slots)


def _may_see(caller: Caller, daemon: DaemonRow) -> bool:
    return caller.may(Permission.READ, Where(env=daemon.env, namespace=daemon.namespace))


def _reading(daemon: DaemonRow, look: GroupLook, form: NewRewind) -> Target:
    """Without an environment the target is the broker's own name of a topic."""
    wanted = form.target if form.env is None else daemon.topic_prefix + form.target
    return Target(daemon, look, {place: at for place, at in look.commits.items() if place[0] == wanted})


async def _looks(groups_of: GroupsOf, found: Sequence[DaemonRow]) -> Mapping[tuple[str | None, str], GroupLook]:
    names: dict[str | None, set[str]] = defaultdict(set)
    for daemon in found:
        names[daemon.kafka_bootstrap_servers].add(daemon.group_name)
    looks: dict[tuple[str | None, str], GroupLook] = {}
    for servers, groups in names.items():
        try:
            seen = await groups_of(servers).look(sorted(groups))
        except BusUnavailable as error:
            raise Unavailable(f"{error}: a rewind needs Kafka; try again") from error
        looks |= {(servers, name): look for name, look in seen.items()}
    return looks
