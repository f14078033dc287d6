"""What the teller of a name has decided: its record on the changelog topic."""

import msgspec

from streams.domain.causes.book import Book, Cause
from streams.domain.causes.exchange import GroupState, Member
from streams.domain.causes.group_names import is_by_cause
from streams.domain.notification.grouping import Groups


class KnownMember(msgspec.Struct):
    """A member, as the teller knows it.

    Attributes:
        group_id: of the group that tells of it.
        entered: receivers whose group has counted it.
        told: receivers that were told of it.
        over_at: when (s, UTC) nobody had to be told of it any more; null before that.
    """

    member: Member
    group_id: str
    entered: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    over_at: float | None = None


class LabelledGroup(msgspec.Struct):
    """A group by labels, or of what is beyond a rate limit.

    Attributes:
        key: `Member.cause_id` of its members.
        labels: that they have in common.
        is_open: whether it takes members; not once a receiver was told that it is over.
        after: by lane, the version of the newest member that was there before it.
    """

    key: str
    labels: dict[str, str]
    is_open: bool = True
    after: dict[int, int] = {}


class TellerRecord(msgspec.Struct):
    """All that the teller of a name has decided.

    Attributes:
        rule: the name: that of a rule, or of labels.
        book: the causes.
        members: alerts, by `Member.member_id`.
        groups: by receiver.
        seen: by lane, the version of the newest member that is in `members`, or was.
        causes: of groups that go on, by the group's id; without alerts.
        labelled: groups that are not by cause, and go on, by their ids.
        states: groups that go on, or ended not long ago, as anybody may know them, by their ids.
        over: by group by cause whose end was told, when (s, UTC): it gets no further alerts.
        is_full: whether there are alerts that fire and that there was no room for.
    """

    rule: str
    book: Book
    members: dict[str, KnownMember] = {}
    groups: dict[str, Groups] = {}
    seen: dict[int, int] = {}
    causes: dict[str, Cause] = {}
    labelled: dict[str, LabelledGroup] = {}
    states: dict[str, GroupState] = {}
    over: dict[str, float] = {}
    is_full: bool = False

    @property
    def is_by_cause(self) -> bool:
        """Whether alerts are grouped by their cause."""
        return is_by_cause(self.rule)


class TellerKey(msgspec.Struct, frozen=True, array_like=True, tag="teller"):
    """Key of a `TellerRecord` on the changelog topic."""

    rule: str


encode_record = msgspec.json.Encoder().encode
decode_record = msgspec.json.Decoder(TellerRecord).decode
