"""The brokers: connections, topics, and what these hold.

- `client`, `msk`, `broken_connections`: connections.
- `topics`, `message_limits`, `rights`: topics, how large a record may be, and who may write it.
- `reading`: a partition, or committed offsets, read outside any group.
- `surroundings`, `lag`: what a worker waits for, and its consumer lag.
"""
