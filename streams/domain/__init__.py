"""What campaign-streams knows, free of Kafka, HTTP and clocks.

In the order in which an event meets it:

- `windows`: tumbling windows and the policy that opens, closes and expires them.
- `events`: what an event is, whatever its format, and why a record is rejected.
- `formats`: one module for each event format: bytes become an event.
- `campaigns`, `sources`, `pre_aggregator`: the records of a source partition become counts.
- `sampling`, `redaction`: a few of the events are taken as samples, without personal data;
  `dead_letters`: what is shown of records that could not be counted.
- `partial_counts`: pre-aggregated counts on their way to the partition of their campaign.
- `heartbeats`: event times for partitions whose campaigns are all silent.
- `watermark`: the event time of a partition, from those of its inputs; `event_time_log`: the
  windows that it was in.
- `limits`, `roster`: how many names and campaigns are kept apart; the others are `__other__`.
- `cells`, `buckets`: the counts of one window while they change, and clean.
- `emission`: the results of closed windows, and what of them is still to be emitted.
- `rollups`: longer windows that take over the counts of those that expire.
- `table`: every retained window of one partition, and what of it must be written down;
  `checkpoint`: how far that is.
- `counts`: the counts of one campaign and window as people ask for them, their groups and rates.
- `hits`, `evaluation_queue`: which campaigns the rules have to be evaluated for;
  `deferrable`: which counts lead to no evaluation, and may be added later.
- `rules`, `detectors`: which counts are a reason to raise an alert, and when that is over.
- `slices`, `explaining`: which part of a campaign explains an alert, and which statuses;
  `sample_book`: the samples of events that it may be about.
- `campaign_evaluator`: evaluates the rules for one campaign;
  `lookback`, `evaluation`: what a campaign's windows say to a rule, closed ones included;
  `detector_states`: what detectors remember beyond that.
- `folds`, `rule_folds`, `scope_sums`, `folded_scopes`: what folding detectors know of scopes, as a
  function of the log; `fold_records`: what they are told of records; `pools`: what the scopes of
  an app have learned together.
- `alerts`: the life of an alert; `alert_records`: its record on the changelog topic;
  `alert_index`: all of a partition; `alert_notices`: who was notified; `alert_figures`: what
  windows say of it; `alert_timers`, `alert_holds`: when something is due,
  also as silences end; `alert_episodes`: when it is the same one again, and when its rule is
  another one; `transition_causes`: who brought its transitions about, and why.
- `operators`: what people ask to be done with alerts, until it is committed.
- `transitions`, `rendering`: what receivers are shown of it; `names`: what campaigns and apps are
  called; `pages`: where the dashboard shows it.
- `silences`: which alerts nobody is notified of, and when; `alert_labels`: what they ask for.
- `causes`: which slice of all campaigns explains that many alerts fire, and who is told of it;
  `group_transitions`: what receivers are shown of it.
- `fleet`: what is told once, whichever workers have to do with it; `silence_events`: that a
  silence ends.
- `notification`: the stages between a transition and the deliveries.
- `deliveries`, `sent_messages`, `receivers`: what is to be sent to whom, in which messages
  receivers show alerts, and who wants nothing at present;
  `delivery_attempts`: what is kept of the attempts; `circuit`: whether a receiver that fails is
  sent anything; `receiver_events`: what another one is told of that;
  `resending`: who is told again that an alert fires.
- `commits`: what one committed transaction held, for those who are notified of it.
- `standings`: how rules stand in a campaign, for who asks why; `retelling`: how they stood at a
  moment of the past.
- `group_comparison`: whether a treatment or a channel of a campaign is really worse than another.
- `calendar_periods`: hours and days of time zones; `arrays`: lists of numbers as arrays.
- `changed_cells`, `change_log`: what the commits of a partition have changed, for who follows it.
- `changelog`: every record of the changelog topic, its key and value, and their format.
- `partition`: all of that for one partition of campaigns, by its `partition_settings`;
  `partition_host`: who holds partitions; `restorer`: restores one from the changelog topic.
"""
