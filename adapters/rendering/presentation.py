"""A softcopy presentation state as it applies to one frame of one image (PS3.4 N.2, PS3.3 A.33).

What it does not define is an identity transformation: the image's own is not used instead. Child processes only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adapters.codecs.unfit import Absent
from adapters.rendering.attributes import Attributes

_INSTANCE, _REFERENCED_SERIES, _REFERENCED_IMAGES = 0x00080018, 0x00081115, 0x00081140
_REFERENCED_INSTANCE, _REFERENCED_FRAMES = 0x00081155, 0x00081160
_VOI, _AREAS, _ANNOTATIONS, _LAYERS = 0x00283110, 0x0070005A, 0x00700001, 0x00700060
_LAYER, _ORDER, _GRAY, _ACTIVATION = 0x00700002, 0x00700062, 0x00700066, 0x1001
_WHITE = 255
OVERLAYS = range(0x60000000, 0x60200000, 0x00020000)
"""The groups of overlay planes (PS3.5 7.6)."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Where in the order something is drawn, and how light (C.10.7)."""

    order: int = 0
    level: int = _WHITE


class Presentation:
    """The state as it applies to an image. Raises Absent where it does not."""

    def __init__(self, state: Attributes, image: Attributes) -> None:
        self.state = state
        self._instance = image.text(_INSTANCE)
        self._layers = {one.text(_LAYER): _layer(one) for one in state.items(_LAYERS)}
        if not any(True for _ in self._references(state.items(_REFERENCED_SERIES))):
            raise Absent("the presentation state does not refer to this image")

    def frames(self) -> list[int]:
        """The frames that it applies to, counted from 1; none named: all."""
        named = [one.decimals(_REFERENCED_FRAMES) for one in self._references(self.state.items(_REFERENCED_SERIES))]
        return [] if not all(named) else sorted({int(number) for numbers in named for number in numbers})

    def voi(self, frame: int) -> Attributes | None:
        """The VOI transformation of a frame, counted from 0 (C.11.8)."""
        return next(self._applying(_VOI, frame), None)

    def area(self, frame: int) -> Attributes | None:
        """Which part is displayed (C.10.4)."""
        return next(self._applying(_AREAS, frame), None)

    def annotations(self, frame: int) -> list[tuple[Layer, Attributes]]:
        """Groups of graphics and texts, in the order of their layers (C.10.5)."""
        found = [(self.layer(one.text(_LAYER)), one) for one in self._applying(_ANNOTATIONS, frame)]
        return sorted(found, key=lambda one: one[0].order)

    def overlays(self) -> list[tuple[Layer, int]]:
        """The overlay groups that are activated, in the order of their layers (C.11.7)."""
        active = ((self.state.text(group + _ACTIVATION), group) for group in OVERLAYS)
        return sorted(
            ((self.layer(name), group) for name, group in active if name), key=lambda one: (one[0].order, one[1])
        )

    def layer(self, name: str) -> Layer:
        """A layer by its name."""
        return self._layers.get(name, Layer())

    def _applying(self, sequence: int, frame: int) -> Iterator[Attributes]:
        """Items that name this frame, or no image at all: then they are for all of the state's."""
        for item in self.state.items(sequence):
            references = item.items(_REFERENCED_IMAGES)
            for one in references:
                frames = one.decimals(_REFERENCED_FRAMES)
                if one.text(_REFERENCED_INSTANCE) == self._instance and (not frames or frame + 1 in frames):
                    yield item
                    break
            if not references:
                yield item

    def _references(self, series: list[Attributes]) -> Iterator[Attributes]:
        for one in series:
            for image in one.items(_REFERENCED_IMAGES):
                if image.text(_REFERENCED_INSTANCE) == self._instance:
                    yield image


def _layer(item: Attributes) -> Layer:
    order = next(iter(item.decimals(_ORDER)), 0.0)
    gray = item.number(_GRAY)
    return Layer(int(order), _WHITE if gray is None else gray >> 8)
