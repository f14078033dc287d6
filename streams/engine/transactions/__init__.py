"""Hanging transactions: open in a partition, as a broker left out their markers there.

KAFKA-20734, in Kafka 4.3 and 4.4: this room can go when no supported version has it.

- `hanging`: finds them, and resolves each as its coordinator had decided.
- `connections`: whether a client has lost any connection to a broker.
- `admin`, `requests`: requests to coordinators and leaders that aiokafka does not have.
"""
