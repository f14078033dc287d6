"""What a request costs: how much has to be looked at, known before it is done.

The unit is what takes a list about as long as a campaign in one window: a fraction of a
microsecond to a few. A campaign's own window is ten of these, as what it is in has to be decoded.
Requests about few things cost nothing.
"""

from collections.abc import Callable, Iterable

from streams.api.problems import refuse, too_many
from streams.domain.table import WindowTable

COST_HEADER = "Query-Cost"
OF_A_WINDOW = 10
"""What a window of one campaign costs."""
OF_A_RULE = 300
"""What it costs to evaluate a rule once, for whoever asks."""
OF_A_LEVEL = 80
"""What it costs to work out what a window is compared with."""
OF_COMPARING = 150
"""What it costs to compare two groups in one window."""
_LARGEST = 10**12


class Budget:
    """What one request may cost, and what it has cost.

    Args:
        maximum: of the request; 0 for none.
        take: takes the cost from what the client may use, or says how long (s) it takes until it
            may.

    Attributes:
        spent: what the request has cost up to now, here and at other workers.
    """

    def __init__(self, maximum: int = 0, take: Callable[[int], float] = lambda _: 0.0) -> None:
        self._maximum = maximum
        self._take = take
        self.spent = 0

    @property
    def maximum(self) -> int:
        """What a request may cost; 0 for any cost."""
        return self._maximum

    def spend(self, cost: int, narrow: Callable[[], str]) -> None:
        """Take the cost of what is to be done next.

        Args:
            cost: in cells.
            narrow: says what to ask instead if that is too much.

        Raises:
            ProblemError: 400 if the request costs too much, 429 if the client has used too much.
        """
        cost_of_all = self.spent + cost
        if self._maximum and cost_of_all > self._maximum:
            refuse(
                f"this costs {cost_of_all:,}, and a request may cost {self._maximum:,} "
                f"(http.cost_limit): {narrow()}"
            )
        wait = self._take(cost)
        if wait:
            raise too_many("requests that cost much: see http.cost_limit", wait)
        self.spent = cost_of_all

    def add(self, header: str) -> None:
        """Add what another worker says that its part has cost; it is taken although it is done."""
        if header.isascii() and header.isdecimal():
            cost = min(int(header[:13]), _LARGEST)
            self._take(cost)
            self.spent += cost


def cost_of_windows(
    tables: Iterable[WindowTable], campaign_id: str, first: float, last: float
) -> int:
    """Return what it costs to look at a campaign's windows from `first` to before `last` (s)."""
    return OF_A_WINDOW * count_windows(tables, campaign_id, first, last)


def count_windows(
    tables: Iterable[WindowTable], campaign_id: str, first: float, last: float
) -> int:
    """Return how many windows of a campaign there may be from `first` to before `last` (s)."""
    count = 0
    for table in tables:
        in_range = len(table.starts_between(first, last))
        retained = table.windows_with(campaign_id)
        count += in_range if retained is None else min(in_range, retained)
        if table.rollups.knows(campaign_id):
            spans = table.rollups.spans()
            count += sum(each.end > first and each.start < last for each in spans)
    return count


def narrow_range(cost: int = OF_A_WINDOW) -> str:
    """Say how a campaign's windows, each of such a cost, are asked for that cost less."""
    return f"each window costs {cost}, narrow from and to"
