"""One run, from its checks to its outcome."""
