"""What is made of an experiment afterwards."""
