"""The grayscale pipeline: Modality LUT, VOI, presentation (PS3.4 N.2, PS3.3 C.11.1, C.11.2), to 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from adapters.codecs.decoding import Array
from adapters.codecs.image import Image
from adapters.rendering.attributes import Attributes
from adapters.rendering.lookup import Lookup, lookup
from adapters.rendering.presentation import Presentation
from domain.rendering import Shape, Window

_WHITE = 255.0
_TABLE_BITS_MAX = 16
_PERCENTILES = (0.5, 99.5)
_LOOKED_AT_MAX = 1_000_000
_INTERCEPT, _SLOPE, _MODALITY_LUT = 0x00281052, 0x00281053, 0x00283000
_CENTER, _WIDTH, _FUNCTION, _VOI_LUT = 0x00281050, 0x00281051, 0x00281056, 0x00283010
_PADDING, _PADDING_LIMIT = 0x00280120, 0x00280121
_PRESENTATION_LUT, _PRESENTATION_SHAPE = 0x20500010, 0x20500020
_TRANSFORMATION, _FRAME_VOI = 0x00289145, 0x00289132

Voi = Callable[[Array], Array]
"""From the output of the Modality LUT to 0..255."""


@dataclass(frozen=True, slots=True)
class Grayscale:
    """How an object's gray values are shown; ``whole`` is its data set.

    With a presentation state the object's own transformations are not used, nor its Photometric Interpretation.
    """

    whole: Attributes
    image: Image
    presentation: Presentation | None = None

    def shown(self, samples: Array, frame: int, window: Window | None) -> Array:
        """The gray levels of a frame, counted from 0. The window that is asked for takes the place of the object's own.

        Of the object's own, a window is preferred to a VOI LUT; where it has neither, its own values decide, but
        those of 8 bits are shown as they are.
        """
        modality = self._modality(frame)
        stored = self._stored(samples)
        voi = self._voi(frame, window) or self._fitting(stored, modality)
        presented = self._presented()
        inverted = self._is_inverted()

        def level(values: Array) -> Array:
            levels = np.rint(presented(voi(modality(values))))
            return (_WHITE - levels if inverted else levels).astype(np.uint8)

        if stored.dtype.kind == "f" or self.image.bits_stored > _TABLE_BITS_MAX:
            return level(stored.astype(np.float64))
        # All values that can be stored go through the pipeline once; the pixels only look theirs up.
        count = 1 << self.image.bits_stored
        table = level(self._domain(count).astype(np.float64))
        if stored.dtype.kind == "i":
            stored = stored.view(f"u{stored.dtype.itemsize}") & (count - 1)
        shown: Array = table[stored]
        return shown

    def _domain(self, count: int) -> Array:
        """The stored value of each pattern of bits."""
        values = np.arange(count, dtype=np.int64)
        return np.where(values >= count // 2, values - count, values) if self.image.is_signed else values

    def _stored(self, samples: Array) -> Array:
        """The stored bits as numbers; what lies in the other bits of a sample is not part of them."""
        image = self.image
        if samples.dtype.kind == "f" or image.bits_allocated == 1:
            return samples
        spare = samples.dtype.itemsize * 8
        up, down = spare - 1 - image.high_bit, spare - image.bits_stored
        if not up and not down:
            return samples
        moved: Array = (samples << up) >> down
        return moved

    def _modality(self, frame: int) -> Voi:
        state = self.presentation and self.presentation.state
        where = state or self.whole.of_frame(_TRANSFORMATION, frame) or self.whole
        if (item := (state or self.whole).item(_MODALITY_LUT)) is not None:
            return lookup(item, signed=self.image.is_signed).of
        slope = next(iter(where.decimals(_SLOPE)), 1.0) or 1.0
        intercept = next(iter(where.decimals(_INTERCEPT)), 0.0)
        return lambda values: values * slope + intercept

    def _voi(self, frame: int, window: Window | None) -> Voi | None:
        where = self.whole.of_frame(_FRAME_VOI, frame) or self.whole
        if self.presentation is not None:
            applying = self.presentation.voi(frame)
            if applying is None:
                return None
            where = applying
        wanted = window or _own_window(where)
        if wanted is not None:
            return windowed(wanted)
        if (item := where.item(_VOI_LUT)) is not None:
            # What goes in is the output of the Modality LUT, which can be negative where stored values are not.
            rescaled = self.presentation.state if self.presentation else where
            return _through(lookup(item, signed=self.image.is_signed or _goes_below_zero(rescaled)))
        return None

    def _fitting(self, stored: Array, modality: Voi) -> Voi:
        """A window for what has none (correctness C8.11): with a presentation state all that can be stored is in it."""
        if stored.dtype.kind != "f" and (self.presentation is not None or self.image.bits_stored <= 8):
            low, high = (float(end) for end in np.sort(modality(self._ends())))
        else:
            low, high = _range(modality(self._looked_at(stored).astype(np.float64)))
        if high <= low:
            low, high = low - 0.5, low + 0.5
        return lambda values: np.clip((values - low) / (high - low), 0, 1) * _WHITE

    def _ends(self) -> Array:
        domain = self._domain(1 << self.image.bits_stored)
        return np.array([domain.min(), domain.max()], np.float64)

    def _looked_at(self, stored: Array) -> Array:
        """Some of the values, without the padding around the picture (C.7.5.1.1.2)."""
        step = max(1, int(np.sqrt(stored.size / _LOOKED_AT_MAX)))
        values = stored[::step, ::step].ravel()
        if values.dtype.kind == "f":
            return values[np.isfinite(values)]
        padding = self.whole.number(_PADDING)
        if padding is None:
            return values
        limit = self.whole.number(_PADDING_LIMIT)
        low, high = sorted(self._signed(one) for one in (padding, padding if limit is None else limit))
        inside = values[(values < low) | (values > high)]
        return inside if len(inside) else values

    def _signed(self, word: int) -> int:
        return word - 0x10000 if self.image.is_signed and word >= 0x8000 else word

    def _presented(self) -> Voi:
        """The Presentation LUT, whose first entry is for black and whose last is for white (C.11.6)."""
        item = self.presentation and self.presentation.state.item(_PRESENTATION_LUT)
        if not item:
            return lambda levels: levels
        table = lookup(item, signed=False)
        last = len(table.entries) - 1
        return lambda levels: table.of(table.first + levels * (last / _WHITE)) * (_WHITE / table.highest)

    def _is_inverted(self) -> bool:
        if self.presentation is not None:
            return self.presentation.state.text(_PRESENTATION_SHAPE) == "INVERSE"
        shape = self.whole.text(_PRESENTATION_SHAPE)
        return shape == "INVERSE" if shape else self.image.photometric == "MONOCHROME1"


def windowed(window: Window) -> Voi:
    """The function of a window (C.11.2.1.2.1, C.11.2.1.3.1, C.11.2.1.3.2)."""
    center, width = window.center, window.width
    if window.shape is Shape.SIGMOID:
        return lambda values: _WHITE / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    if window.shape is Shape.LINEAR_EXACT:
        return lambda values: np.clip((values - center) / width + 0.5, 0, 1) * _WHITE
    if width <= 1:
        return lambda values: np.where(values > center - 0.5, _WHITE, 0.0)
    return lambda values: np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * _WHITE


def _own_window(where: Attributes) -> Window | None:
    """The first of the object's windows, if it is one."""
    center, width = where.decimals(_CENTER), where.decimals(_WIDTH)
    if not center or not width:
        return None
    try:
        shape = Shape(where.text(_FUNCTION) or Shape.LINEAR.value)
    except ValueError:
        shape = Shape.LINEAR
    is_one = width[0] >= 1 if shape is Shape.LINEAR else width[0] > 0
    return Window(center[0], width[0], shape) if is_one else None


def _through(table: Lookup) -> Voi:
    return lambda values: table.of(values) * (_WHITE / table.highest)


def _goes_below_zero(where: Attributes) -> bool:
    return next(iter(where.decimals(_INTERCEPT)), 0.0) < 0


def _range(values: Array) -> tuple[float, float]:
    if not len(values):
        return 0.0, 0.0
    low, high = (float(one) for one in np.percentile(values, _PERCENTILES))
    return (low, high) if low < high else (float(values.min()), float(values.max()))
