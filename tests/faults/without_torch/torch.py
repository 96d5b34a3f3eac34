"""Stands before PyTorch on the path of a project that does without.

The tests have one environment for all frameworks, and scikit-learn imports PyTorch where it is
installed: two seconds in each driver and each worker.
"""

raise ModuleNotFoundError("this project does without PyTorch", name="torch")
