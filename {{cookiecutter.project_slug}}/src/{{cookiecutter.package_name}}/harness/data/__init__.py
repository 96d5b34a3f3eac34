"""Tables for `load_data`: read and checked, each error in one line. Imports no Ray."""

from .columns import checked_classes, checked_numbers, part
from .files import read_table

__all__ = ["checked_classes", "checked_numbers", "part", "read_table"]
