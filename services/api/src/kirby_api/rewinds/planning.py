"""What a rewind would do, before it is begun: which messages, what is downstream, and why not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kirby_common.group_members import static_names, strangers
from kirby_common.ledger import rewind_parts
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.rewind_parts import BadRange, Part
from kirby_common.ledger.rewinds import WantedRewind
from kirby_common.ports import BusUnavailable
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Caller, Permission, Place
from kirby_api.problems import Conflict, Invalid, Unavailable
from kirby_api.rewinds import shadows, targets
from kirby_api.rewinds.downstream import Touched, look_downstream
from kirby_api.rewinds.ports import GroupsOf
from kirby_api.rewinds.targets import Target, is_up
from kirby_api.rewinds.view import NewRewind, PartView, RewindPreview


@dataclass(frozen=True)
class Planned:
    """One daemon's rewind. `parts` are frozen; where they end is known once its replicas are down."""

    form: NewRewind
    target: Target
    parts: Sequence[Part]
    touched: Touched

    @property
    def wanted(self) -> WantedRewind:
        daemon = self.target.daemon
        return WantedRewind(
            context_id=daemon.context_id, job=daemon.job, env=daemon.env, namespace=daemon.namespace,
            target=self.form.target, group=daemon.group_name,
            kafka_bootstrap_servers=daemon.kafka_bootstrap_servers, start=self.form.from_, end=self.form.to,
            parts=self.parts, rate=self.form.rate, mode=self.form.mode, prefix=daemon.topic_prefix,
            outputs=self.outputs,
        )  # fmt: skip

    @property
    def outputs(self) -> list[str]:
        """The topics that the job itself is known to write, with their prefix."""
        return sorted(self.target.daemon.topic_prefix + name for name in self.touched.written)

    def preview(self) -> RewindPreview:
        daemon, found = self.target.daemon, rewind_parts.settled(self.parts, self.target.commits)
        messages = sum(part.size for part in found)
        parts = [
            PartView(topic=p.topic, partition=p.partition, from_=p.start, to=p.to, position=p.start) for p in found
        ]
        return RewindPreview(
            mode=self.form.mode, job=daemon.job, env=daemon.env, group=daemon.group_name, messages=messages,
            parts=parts,
            waiting=daemon.facts.progress.lag if daemon.facts.progress else 0,
            lasts_s=None if self.form.rate is None else messages / self.form.rate,
            touched_topics=list(self.touched.topics), touched_jobs=list(self.touched.jobs),
            touched_others=list(self.touched.others), warnings=self._warnings(),
        )  # fmt: skip

    def _warnings(self) -> list[str]:
        daemon, members = self.target.daemon, self.target.look.members
        if self.form.mode == "shadow":
            return shadows.warnings(self.target, self.touched)
        told = []
        if is_up(daemon) and not static_names(members, daemon.group_name):
            told.append(
                f"{daemon.job} does not read by Kirby's SDK, or has just begun: what a script without it sends is not"
                " flagged, and its side effects are not held back"
            )
        if daemon.facts.off is not None:
            told.append(f"{daemon.job} is off ({daemon.facts.off}): it is rewound once it is up again")
        if not self.touched.topics:
            told.append(f"{daemon.job} was never seen to send anything, so that what is downstream of it is not known")
        return told


async def plan(db: AsyncSession, groups_of: GroupsOf, form: NewRewind, caller: Caller) -> list[Planned]:
    """Empty when the name stands for no daemon. Raises `Invalid`, `Conflict`, `Forbidden`, `Unavailable`."""
    found = await targets.find(db, groups_of, form, caller)
    for target in found:
        daemon = target.daemon
        caller.require(Permission.OPERATE, Place(env=daemon.env, namespace=daemon.namespace))
        if form.mode == "shadow":
            shadows.refuse_without_sdk(target)
        else:
            _refuse_strangers(target)
    try:
        rewind_parts.check_times(form.from_, form.to, now=await database_now(db))
    except BadRange as error:
        raise Invalid(str(error)) from error
    planned = [await _planned(db, groups_of, form, target) for target in found]
    for one in planned:
        if form.mode == "shadow":
            await shadows.refuse(db, one.target, one.outputs)
        else:
            _refuse_cycle(one)
    return planned


async def _planned(db: AsyncSession, groups_of: GroupsOf, form: NewRewind, target: Target) -> Planned:
    daemon = target.daemon
    if not target.commits:
        raise Invalid(f"{daemon.job} in {daemon.env} has not processed anything yet, so nothing can be processed again")
    try:
        groups = groups_of(daemon.kafka_bootstrap_servers)
        bounds = await groups.bounds(sorted(target.commits), start=form.from_, end=form.to)
        parts = rewind_parts.plan(
            bounds, target.commits, start=form.from_, end=form.to, partly=form.partly, group=daemon.group_name
        )
    except BusUnavailable as error:
        raise Unavailable(f"{error}: a rewind needs Kafka; try again") from error
    except BadRange as error:
        raise Invalid(str(error), left=error.left, oldest_at=_told(error.oldest_at)) from error
    again = frozenset(part.topic.removeprefix(daemon.topic_prefix) for part in parts)
    return Planned(form, target, parts, await look_downstream(db, daemon, again))


def _refuse_strangers(target: Target) -> None:
    """A member that can't be a replica of the daemon would go on reading, and hold its partitions."""
    daemon, members = target.daemon, target.look.members
    others = strangers(members, daemon.group_name)
    # A script without the SDK reads under any name: then none of the members has one of ours.
    if others and (static_names(members, daemon.group_name) or not is_up(daemon)):
        who = ", ".join(sorted({f"{member.client} at {member.host}" for member in others}))
        raise Conflict(
            f"the group {daemon.group_name} has a member that Kirby did not start ({who}): stop it first,"
            " or it would process the messages in place of the job"
        )


def _refuse_cycle(planned: Planned) -> None:
    if planned.touched.cycle:
        raise Conflict(
            f"what {planned.target.daemon.job} sends comes back to it ({' → '.join(planned.touched.cycle)}), so that a"
            " rewind in place would feed itself: disable one of these jobs meanwhile",
            cycle=list(planned.touched.cycle),
        )


def _told(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
