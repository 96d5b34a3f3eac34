"""Random and grid search that can take more samples later."""

from typing import Any

from ray.tune.search import BasicVariantGenerator


class ExtendableSearch(BasicVariantGenerator):
    """Ray's own search. When it is restored with a larger `num_samples`, it goes on sampling.

    The random generator is part of its state: the samples are those that one longer run had drawn.
    """

    def __init__(self, num_samples: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.num_samples = num_samples

    def set_state(self, state: dict[str, Any]) -> None:
        wanted, concurrent = self.num_samples, self.max_concurrent
        super().set_state(state)  # type: ignore[no-untyped-call]
        self.num_samples, self.max_concurrent = wanted, concurrent
        self._live_trials: set[str] = set()  # those of the ended run: its trials start again
        for iterator in self._iterators:
            more = wanted - iterator.num_samples
            if more > 0:
                self._total_samples += more * (self._total_samples // iterator.num_samples)
                iterator.num_samples_left += more
                iterator.num_samples = wanted
                self._finished = False
