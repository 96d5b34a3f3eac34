"""What is saved of an experiment, and where. Imports no Ray."""
