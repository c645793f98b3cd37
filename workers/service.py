"""What one worker process serves: models that share the slots of their streams, on one or more lanes."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.base import StreamModel


@dataclass(frozen=True)
class Service:
    """A named set of models. A stream occupies the same slot in each, and its input crosses the broker once.

    Each lane is a device thread. A GPU has one; on a CPU, a model that answers in a fraction of a millisecond gets a
    lane of its own, so that it never waits behind one that takes a quarter of a second.
    """

    name: str
    lanes: Sequence[Sequence[StreamModel]]
    device: str

    @property
    def models(self) -> list[StreamModel]:
        """Every model, in lane order."""
        return [model for lane in self.lanes for model in lane]

    @property
    def capacity(self) -> int:
        """Slots, the same for every model."""
        (capacity,) = {model.capacity for model in self.models}
        return capacity

    @property
    def window(self) -> int:
        """Bytes of input a stream may have in flight: what the tightest model can hold."""
        return min(model.window for model in self.models)
