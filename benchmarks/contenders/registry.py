"""All contenders, in the order of the table."""

from benchmarks.contenders import flink, kafka_streams, ours, python
from benchmarks.contenders.contender import Contender

CONTENDERS: dict[str, Contender] = {
    each.name: each
    for each in (
        *ours.CONTENDERS,
        *kafka_streams.CONTENDERS,
        *flink.CONTENDERS,
        *python.CONTENDERS,
    )
}
