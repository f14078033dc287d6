"""How well detectors tell incidents from usual traffic: labelled traffic, and scores.

- `traffic`: labelled campaign-days, second by second, from a seed.
- `product`: traffic through the product's own code, as a backtest runs it.
- `usual`: what else is in use to spot a rate that has risen.
- `scoring`: alerts compared with the labels: recall, precision, false alarms, times.
- `stationary`: false alarms where nothing happens, with flushes of any length; a command.
- `cases`: how soon a campaign is found that breaks, and what a handful of failures does.
- `evaluation`: all that for many campaigns, in several processes.
- `tables`: scores as tables; `__main__`: the command.
- `trace`: what a detector knew of one campaign, second by second; `drawing`: charts as SVG;
  `plots`: single incidents, with what each detector said when.
"""
