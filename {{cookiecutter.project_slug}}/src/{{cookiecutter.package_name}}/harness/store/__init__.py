"""What is kept of experiments, and where. Imports no Ray."""
