"""What all workers know: compacted topics that each of them reads whole.

- `topic`: one such topic, read from its beginning, followed, and written to.
- `table`: what such topics hold, as it is kept in memory.
- `silences`: the silences of all workers.
- `names`: what campaigns and apps are called.
- `groups`: what the lanes of all workers say of common causes.
"""
