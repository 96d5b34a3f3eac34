"""A Ray Tune experiment. Read tune_run.py first; rewrite data.py and model.py first."""
