import orjson
import pytest
from aiokafka.cluster import ClusterMetadata
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.tasks.assignor import TaskAssignor, share_out

members = st.dictionaries(
    st.sampled_from("abcdef"), st.lists(st.integers(0, 12), unique=True), min_size=1
)


@given(st.integers(0, 12), members)
def test_every_task_goes_to_one_member_and_evenly(tasks: int, held: dict[str, list[int]]) -> None:
    shares = share_out(tasks, held)
    assert shares.keys() == held.keys()
    assert sorted(task for share in shares.values() for task in share) == list(range(tasks))
    sizes = [len(share) for share in shares.values()]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 12), st.sets(st.sampled_from("abcdef"), min_size=1))
def test_sharing_out_again_moves_nothing(tasks: int, names: set[str]) -> None:
    shares = share_out(tasks, {name: [] for name in names})
    assert share_out(tasks, shares) == shares


@given(st.integers(1, 12), st.sets(st.sampled_from("abcde"), min_size=1))
def test_as_few_tasks_move_as_can_be(tasks: int, names: set[str]) -> None:
    before = share_out(tasks, {name: [] for name in names})
    joined = share_out(tasks, {**before, "new": []})
    moved = sum(len(set(before[name]) - set(joined[name])) for name in names)
    assert moved == len(joined["new"])
    leaver = min(names)
    rest = {name: share for name, share in joined.items() if name != leaver}
    after = share_out(tasks, rest)
    assert all(set(rest[name]) <= set(after[name]) for name in rest)


@given(
    st.integers(1, 12),
    st.integers(1, 5).flatmap(lambda count: st.permutations("abcde"[:count])),
)
def test_who_has_one_more_than_others_keeps_it(tasks: int, names: list[str]) -> None:
    """Whoever that is, not only those whose names come first."""
    held = {name: list(range(at, tasks, len(names))) for at, name in enumerate(names)}
    assert share_out(tasks, held) == held


class Cluster(ClusterMetadata):  # type: ignore[misc] # aiokafka has no types
    """One that knows a topic of so many partitions."""

    def __init__(self, topic: str, partitions: int) -> None:
        super().__init__()
        self._topic, self._count = topic, partitions

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self._count)) if topic == self._topic and self._count else None


def assignor_of(
    url: str | None, held: set[int], repartition: str | None = "repartition"
) -> TaskAssignor:
    made = TaskAssignor(3, "events", repartition)
    made.url, made.held = url, held
    return made


def test_whole_tasks_are_assigned_and_everybody_learns_where_they_are() -> None:
    workers = {"m1": assignor_of("http://one", {0, 2}), "m2": assignor_of("http://two", set())}
    subscriptions = {
        name: each.metadata({"events", "repartition"}) for name, each in workers.items()
    }
    assigned = workers["m2"].assign(Cluster("events", 7), subscriptions)
    shares = {name: dict(each.assignment) for name, each in assigned.items()}
    assert shares == {
        "m1": {"events": [0, 2, 3, 5, 6], "repartition": [0, 2]},
        "m2": {"events": [1, 4], "repartition": [1]},
    }
    for name, each in workers.items():
        each.on_assignment(assigned[name])
        assert each.peers == {0: "http://one", 1: "http://two", 2: "http://one"}
        assert each.sources == 7


def test_assignments_survive_the_wire() -> None:
    one = assignor_of("http://one", {1})
    encoded = one.metadata(["repartition", "events"]).encode()
    decoded = type(one.metadata([])).decode(encoded)
    assert list(decoded.subscription) == ["events", "repartition"]
    assert orjson.loads(decoded.user_data) == {"tasks": [1], "url": "http://one", "sources": 0}
    assigned = one.assign(Cluster("events", 4), {"m": decoded})["m"]
    again = type(assigned).decode(assigned.encode())
    assert dict(again.assignment) == {"events": [0, 1, 2, 3], "repartition": [0, 1, 2]}


def test_keyed_sources_have_no_second_topic() -> None:
    one = assignor_of(None, set(), repartition=None)
    assigned = one.assign(Cluster("events", 3), {"m": one.metadata(["events"])})["m"]
    assert dict(assigned.assignment) == {"events": [0, 1, 2]}
    one.on_assignment(assigned)
    assert one.peers == {}


@pytest.mark.parametrize("partitions", [0, 1])
def test_tasks_without_source_partitions_are_assigned_all_the_same(partitions: int) -> None:
    one = assignor_of(None, set())
    assigned = one.assign(Cluster("events", partitions), {"m": one.metadata(["events"])})["m"]
    assert dict(assigned.assignment) == {
        "events": list(range(partitions)),
        "repartition": [0, 1, 2],
    }


def test_members_with_another_number_of_tasks_do_not_join() -> None:
    assert TaskAssignor(3, "a", "b").name != TaskAssignor(4, "a", "b").name
