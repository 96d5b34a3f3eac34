"""What `tune.run` is given."""
