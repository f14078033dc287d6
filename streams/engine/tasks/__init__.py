"""Stream tasks, as Kafka Streams has them: co-assigned partitions, their state, one producer.

- `assignor`: gives whole tasks to workers.
- `manager`, `restore`: the tasks of a worker, through rebalances and failures.
- `logs`: where to read on when a topic was recreated, or its log was truncated or expired.
- `state`: the states of a task, and which may follow which.
- `task`, `context`: what one task does with what it reads, and what all tasks share.
- `offsets`, `output_buffer`: how far it is, and what it has yet to write.
- `writers`: the writer of each task.
- `events`: notifies others of each commit, and of tasks that come and go.
- `poison_pills`: records that make processing fail are found, and dead-lettered.
"""
