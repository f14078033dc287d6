"""Traffic for the source topic: what was recorded, and what is made up.

recorded     files of events, in any layout they are kept in, read back one event at a time
outlines     where an object ends among others, and where to go on after a broken one
gzipped      the same files, compressed
files        batches of them, read beside the event loop
shifting     recorded times moved so that the last event is now
populations  campaigns as they differ: volume, channels, treatments, failure rates of their own
incidents    what goes wrong with them, when, and what only looks like it: the labels
rendering    one event in the shape the vendor gives it
simulation   campaigns and incidents put together into events in the order of their arrival
plans        ready-made: so many minutes of it, or the endless demonstration
pacing       events at a rate, or in the rhythm of their own times
sending      events into the topic, and an account of what got there
"""
