"""Workers whose program was changed a little: another version, or one with less patience."""

import sys

from tests.support.processes import ServerProcess
from tests.support.workers import WorkerProcess

QUICK_METADATA = """
import streams.engine.app as app
made = app.WholeBatchConsumer
app.WholeBatchConsumer = lambda **settings: made(**{**settings, "metadata_max_age_ms": 500})
"""
"""Looks for new partitions twice a second, not twice a minute."""

NEXT_FORMAT = """
import streams.domain.changelog as changelog
changelog.FORMAT += 1
"""
"""Writes a changelog in a format of its own."""

NEXT_PARTIAL_COUNTS = """
import streams.domain.partial_counts, streams.domain.pre_aggregator
for module in (streams.domain.partial_counts, streams.domain.pre_aggregator):
    module.PARTIAL_COUNTS_VERSION += 1
"""
"""Writes partial counts in a format of its own."""

BOTH_PARTIAL_COUNTS = """
import streams.domain.partial_counts as partial_counts
known = partial_counts.decode
def decode(value):
    if value[1] != partial_counts.PARTIAL_COUNTS_VERSION:
        return partial_counts.PartialCounts(partial_counts.PARTIAL_COUNTS_VERSION, {}, 0, [])
    return known(value)
partial_counts.decode = decode
"""
"""Reads partial counts of any format; those of another one have nothing in them."""

RUN = "\nfrom streams.commands import main\nmain()\n"


class VariantProcess(WorkerProcess):
    """One worker, started with a change of its program, in Python."""

    change = ""

    def start(self) -> None:
        """Start; it is not ready yet."""
        arguments = ["worker", "--config", str(self._file)]
        command = [sys.executable, "-c", self.change + RUN, *arguments]
        self._process = ServerProcess(command, log_file=self.log_file)
