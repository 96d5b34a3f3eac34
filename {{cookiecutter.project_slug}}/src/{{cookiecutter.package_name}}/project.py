"""Yours: the parts of this project. The harness gets them from here, and imports none itself."""

from .harness.project import Parts, Project
from .settings import Settings


def parts() -> Parts:
    """Import the parts: in a function, because `list`, `config` and `--help` need no Ray."""
    from .callbacks import make_callbacks
    from .data import load_data
    from .model import load_export
    from .search_space import MUTABLE, search_space
    from .stopper import make_stopper
    from .trainable import ExperimentTrainable
    from .tune_run import tune_run

    return Parts(
        load_data=load_data,
        search_space=search_space,
        trainable=ExperimentTrainable,
        make_stopper=make_stopper,
        make_callbacks=make_callbacks,
        tune_run=tune_run,
        mutable=MUTABLE,
        load_export=load_export,
    )


PROJECT = Project(package=__package__, settings=Settings, parts=parts)
