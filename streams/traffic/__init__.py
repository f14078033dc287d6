"""Traffic for the source topic: what was recorded, and what is made up.

recorded     files of events, in any layout they are kept in, read back one event at a time
gzipped      the same files, compressed
shifting     recorded times moved so that the last event is now
populations  campaigns as they differ: volume, channels, treatments, failure rates of their own
incidents    what goes wrong with them, when, and what only looks like it: the labels
rendering    one event in the shape the vendor gives it
simulation   campaigns and incidents put together into events in the order of their arrival
pacing       events at a rate, or in the rhythm of their own times
sending      events into the topic, and an account of what got there
"""
