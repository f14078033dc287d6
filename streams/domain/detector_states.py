"""What detectors remember of scopes, beyond what the windows say: a record for each of them."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from math import inf
from typing import Any

import msgspec

from streams.domain.rules import Rule, Scope
from streams.errors import FormatError


class DetectorStateKey(msgspec.Struct, frozen=True, array_like=True, tag="detector"):
    """Key of what the detector of one rule remembers of one scope."""

    campaign_id: str
    rule: str
    treatment_id: str | None
    channel_type: str | None

    @property
    def scope(self) -> Scope:
        """The scope."""
        return Scope(self.campaign_id, self.treatment_id, self.channel_type)


class DetectorStateRecord(msgspec.Struct, frozen=True, array_like=True):
    """What is written down: the kind of the detector, and a value of its `state_type`."""

    kind: str
    state: msgspec.Raw


class DetectorStates:
    """The states of detectors in one partition, by rule and scope.

    A state that no evaluation has touched for the detector's `state_lifetime` is forgotten.

    Args:
        rules: all rules; a state of another rule, or of a detector of another kind, is forgotten.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._detectors = {rule.name: rule.detector for rule in rules}
        self._states: dict[str, OrderedDict[Scope, tuple[float, Any]]] = {}
        """By rule and scope: when (s) it was last evaluated, and the state; oldest first."""
        self._changed: dict[DetectorStateKey, None] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return sum(map(len, self._states.values()))

    def get(self, rule: Rule, scope: Scope) -> Any:
        """Return what the rule's detector remembers of a scope; null for nothing."""
        of_rule = self._states.get(rule.name)
        found = of_rule.get(scope) if of_rule is not None else None
        return found[1] if found is not None else None

    def put(self, rule: Rule, scope: Scope, state: Any, now: float) -> None:
        """Remember the state that an evaluation at `now` (s, UTC) came to; null for nothing."""
        of_rule = self._states.get(rule.name)
        if of_rule is None:
            if state is None:
                return
            of_rule = self._states[rule.name] = OrderedDict()
        known = of_rule.pop(scope, None)
        if state is not None:
            of_rule[scope] = now, state
        if state != (known[1] if known is not None else None):
            self._changed[_key(rule.name, scope)] = None

    def forget(self, now: float) -> None:
        """Forget what has not been evaluated for too long, at wall-clock `now` (s, UTC)."""
        for rule, of_rule in self._states.items():
            oldest = now - self._detectors[rule].state_lifetime
            while of_rule and next(iter(of_rule.values()))[0] < oldest:
                scope, _ = of_rule.popitem(last=False)
                self._changed[_key(rule, scope)] = None

    @property
    def next_forgotten_at(self) -> float:
        """When (s, UTC) `forget` has something to do at the earliest; infinity for never."""
        return min(
            (
                next(iter(of_rule.values()))[0] + self._detectors[rule].state_lifetime
                for rule, of_rule in self._states.items()
                if of_rule
            ),
            default=inf,
        )

    def take_changes(self) -> Iterator[tuple[DetectorStateKey, DetectorStateRecord | None]]:
        """Hand out the keys whose states changed since the last call, with the states."""
        changed, self._changed = self._changed, {}
        for key in changed:
            of_rule = self._states.get(key.rule)
            found = of_rule.get(key.scope) if of_rule is not None else None
            yield key, self._record(key.rule, found[1]) if found is not None else None

    def _record(self, rule: str, state: Any) -> DetectorStateRecord:
        kind = self._detectors[rule].kind
        return DetectorStateRecord(kind, msgspec.Raw(msgspec.json.encode(state)))

    def restore(self, key: DetectorStateKey, record: DetectorStateRecord) -> None:
        """Take a state as it was written down.

        Raises:
            FormatError: if the detector cannot read its state.
        """
        detector = self._detectors.get(key.rule)
        if detector is None or detector.kind != record.kind or detector.state_type is None:
            self._changed[key] = None
            return
        try:
            state = msgspec.json.decode(record.state, type=detector.state_type)
        except msgspec.ValidationError as error:
            raise FormatError(
                f"state of detector {record.kind}, rule {key.rule}, campaign {key.campaign_id} on "
                f"the changelog topic: {error}; start the version that wrote it, or read "
                "docs/operations.md"
            ) from error
        self._states.setdefault(key.rule, OrderedDict())[key.scope] = 0.0, state

    def resume(self, now: float) -> None:
        """Go on after a pause of unknown length: no state is older than `now` (s, UTC)."""
        for of_rule in self._states.values():
            for scope, (_, state) in of_rule.items():
                of_rule[scope] = now, state


def _key(rule: str, scope: Scope) -> DetectorStateKey:
    return DetectorStateKey(scope.campaign_id, rule, scope.treatment_id, scope.channel_type)
