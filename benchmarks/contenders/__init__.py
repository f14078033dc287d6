"""The contenders, one file each: what runs as a process of its own, and how it is started.

Files whose names end in `_child` are the programs. They may run in another environment than ours,
so they import nothing of ours but `progress`.
"""
