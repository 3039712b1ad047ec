"""How far the work on a partition is: nothing that is not done is ever passed."""

from hypothesis import given
from hypothesis import strategies as st
from kirby._progress import Lanes, Progress


@given(st.data())
def test_the_position_is_the_first_offset_that_is_not_done(data: st.DataObject) -> None:
    offsets = sorted(data.draw(st.sets(st.integers(0, 200), min_size=1, max_size=40)))
    order = data.draw(st.permutations(offsets))
    progress = Progress()
    for offset in offsets:
        progress.taken(offset)
    done: set[int] = set()
    for offset in order:
        progress.done(offset)
        done.add(offset)
        behind = next((o for o in offsets if o not in done), None)
        if offsets[0] not in done:
            assert progress.position is None
        else:
            assert progress.position == (behind if behind is not None else offsets[-1] + 1)
        assert progress.outstanding == sum(1 for o in offsets if behind is not None and o >= behind)


@given(st.lists(st.sampled_from(["a", "b", None]), max_size=60), st.data())
def test_a_lane_has_one_item_at_work_and_keeps_its_order(lanes_of: list[str | None], data: st.DataObject) -> None:
    lanes: Lanes[int] = Lanes()
    running: list[int] = [n for n, lane in enumerate(lanes_of) if lanes.enter(lane, n)]
    ended: list[int] = []
    while running:
        busy = [lanes_of[n] for n in running if lanes_of[n] is not None]
        assert len(busy) == len(set(busy))
        item = running.pop(data.draw(st.integers(0, len(running) - 1)))
        ended.append(item)
        following = lanes.leave(lanes_of[item]) if lanes_of[item] is not None else None
        if following is not None:
            running.append(following)
    assert sorted(ended) == list(range(len(lanes_of)))
    for lane in ("a", "b"):
        mine = [n for n in ended if lanes_of[n] == lane]
        assert mine == sorted(mine)


def test_what_waits_can_be_dropped() -> None:
    lanes: Lanes[int] = Lanes()
    assert [lanes.enter("a", n) for n in range(4)] == [True, False, False, False]
    assert lanes.drop(lambda n: n > 1) == 2
    assert lanes.leave("a") == 1
    assert lanes.leave("a") is None
