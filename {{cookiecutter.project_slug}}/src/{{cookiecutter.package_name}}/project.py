"""Yours: the parts of this project, each named once. The harness calls them, and imports none."""

from .harness.project import Parts, Project
from .settings import Settings


def parts() -> Parts:
    """The parts that import Ray, which `list`, `config` and `--help` do without."""
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
