"""What a connection says that broke a moment ago."""

import pytest
import uvloop
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from streams.engine.cluster.broken_connections import treat_as_broken


async def send_over_a_broken_one(address: str) -> None:
    host, _, port = address.rpartition(":")
    connection = await create_conn(host, int(port))
    await connection.send(MetadataRequest([]))
    connection._writer.transport.abort()
    # The connection has not heard of it: nothing was awaited.
    assert connection.connected()
    with pytest.raises(KafkaConnectionError, match="closed by the other side"):
        connection.send(MetadataRequest([]))
    assert not connection.connected()


@pytest.mark.embedded
def test_a_broken_connection_is_told_as_one(embedded_broker: str) -> None:
    treat_as_broken()
    treat_as_broken()
    # The loop of the worker.
    uvloop.run(send_over_a_broken_one(embedded_broker))
