"""Transactions that hang in a partition, as a broker forgot to write their markers there.

KAFKA-20734, in Kafka 4.3 and 4.4: this room can go when no supported version has it.

- `hanging`: what hangs is ended as its coordinator had decided.
- `admin`, `requests`: questions to coordinators and leaders that aiokafka does not have.
"""
