"""The template's: `copier update` and `cruft update` keep these files current."""
