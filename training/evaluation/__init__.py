"""How good a checkpoint is: sets, measures, baselines and the table of `training/evaluate.py`."""
