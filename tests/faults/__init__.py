"""What the tests of faults, and the soak in benchmarks/, do to a generated project."""
