"""A stored image as a picture: the whole way from its frames to the bytes of a media type. Child processes only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adapters.codecs import image as described
from adapters.codecs.decoding import Array, colour_after, rgb
from adapters.codecs.elements import FLOAT_PIXEL_DATA
from adapters.codecs.image import Image
from adapters.codecs.object import StoredObject
from adapters.codecs.unfit import Absent, Unacceptable, Unfit
from adapters.rendering.annotations import annotated
from adapters.rendering.attributes import Attributes
from adapters.rendering.colour import coloured, has_palette, in_colour_space, pseudo_coloured
from adapters.rendering.geometry import fitting, pixel_height
from adapters.rendering.grayscale import Grayscale
from adapters.rendering.lettering import annotated_by
from adapters.rendering.overlays import overlaid, shuttered
from adapters.rendering.pictures import EMBEDDING, encoded, moving
from adapters.rendering.presentation import Presentation
from adapters.rendering.view import View, displayed, fitted, whole
from domain.limits import Limits
from domain.rendering import ALL_FRAMES, GIF, IMAGES, MOVING, ONLY_FRAME, REPRESENTATIVE, Rendering, chosen

_FLOATS = FLOAT_PIXEL_DATA[0]
_REPRESENTATIVE, _FRAME_TIME, _RATE = 0x00286010, 0x00181063, 0x00082144
_GRAY = ("MONOCHROME1", "MONOCHROME2")
_HUNDREDTHS_DEFAULT, _HUNDREDTHS_MIN, _HUNDREDTHS_MAX = 10, 2, 500


class Picture:
    """An image that is shown."""

    def __init__(self, stored: StoredObject, limits: Limits, state: Attributes | None = None) -> None:
        """With a presentation state it is shown by that. Raises Absent where it does not refer to the image."""
        self._stored = stored
        self._limits = limits
        self._whole = Attributes(stored.source, stored.form, stored.header)
        self._presentation = Presentation(state, self._whole) if state else None
        self._colours = state or self._whole
        self._floats = next((tag for tag in FLOAT_PIXEL_DATA if tag in self._whole), 0)
        self._image = self._described_floats() if self._floats else stored.image()

    def rendered(self, asked: Rendering, more_time: Callable[[], None]) -> tuple[str, bytes, list[str]]:
        """Media type, bytes, and what their reader should know. ``more_time`` is called for each frame."""
        several = asked.frame == ALL_FRAMES and self._image.frames > 1
        if asked.frame == ONLY_FRAME and self._image.frames > 1:
            raise Unacceptable("there are several frames: one must be named")
        media_type = chosen(asked.media_types, MOVING if several else IMAGES)
        if not media_type:
            raise Unacceptable(f"this image is shown as {', '.join(IMAGES)}")
        notes: list[str] = []
        if several and media_type == GIF:
            return media_type, self._moving(asked, notes, more_time), list(dict.fromkeys(notes))
        if several:
            notes.append("Only the first frame is shown: the others are at frames/n/rendered, all are in image/gif")
        pixels = self._annotated(self._number(asked.frame), asked, notes)
        embeds = media_type in EMBEDDING
        pixels, profile = in_colour_space(pixels, self._colours, asked.colour_space, can_embed=embeds)
        return media_type, encoded(pixels, media_type, asked.quality, profile), notes

    def _moving(self, asked: Rendering, notes: list[str], more_time: Callable[[], None]) -> bytes:
        frames = []
        for number in self._some_frames(asked, notes):
            more_time()
            pixels = self._annotated(number, asked, notes)
            frames.append(in_colour_space(pixels, self._colours, asked.colour_space, can_embed=False)[0])
        return moving(np.stack(frames), self._hundredths())

    def _number(self, frame: int) -> int:
        """The frame's number from 0 on."""
        if frame in (ALL_FRAMES, ONLY_FRAME):
            named = self._presentation.frames() if self._presentation else []
            return next((number - 1 for number in named if 1 <= number <= self._image.frames), 0)
        if frame != REPRESENTATIVE:
            if frame > self._image.frames:
                raise Absent("there is no such frame")
            return frame - 1
        representative = self._whole.number(_REPRESENTATIVE) or 0
        return representative - 1 if 1 <= representative <= self._image.frames else self._image.frames // 2

    def _annotated(self, number: int, asked: Rendering, notes: list[str]) -> Array:
        """A frame with what is written over it when all else is done (PS3.18 8.3.5.1.1)."""
        frame = f"frame {number + 1} of {self._image.frames}" if self._image.frames > 1 else ""
        return annotated_by(self._pixels(number, asked, notes), self._whole, asked.annotations, frame)

    def _pixels(self, number: int, asked: Rendering, notes: list[str]) -> Array:
        image, own, presentation = self._image, self._whole, self._presentation
        grayscale = Grayscale(own, image, presentation)
        if self._floats:
            samples = self._float_samples(number)
            pixels = grayscale.shown(samples, number, asked.window)
        else:
            colour = colour_after(self._stored.syntax, image)
            samples = rgb(self._stored.array(image, number), colour)
            if image.samples == 1 and colour in _GRAY:
                pixels = grayscale.shown(samples, number, asked.window)
            else:
                pixels = coloured(samples, own, image)
        if presentation and pixels.ndim == 2 and has_palette(presentation.state):
            pixels = pseudo_coloured(pixels, presentation.state)
        shutters = presentation.state if presentation else own
        pixels = overlaid(shuttered(pixels, shutters, number), samples, own, image, number, presentation)
        if presentation is None:
            return self._fitted(whole(pixels).cropped(asked.region), asked.size, notes).pixels
        view = displayed(pixels, presentation, number, self._limits).cropped(asked.region)
        view = fitted(view, presentation, number, asked.size, self._limits)
        return annotated(view, presentation, number)

    def _fitted(self, view: View, size: tuple[int, int] | None, notes: list[str]) -> View:
        shape = (view.pixels.shape[0], view.pixels.shape[1])
        if size is not None:
            return view.scaled(*fitting(shape, size, pixel_height(self._whole)))
        side = self._limits.rendered_side_max
        if max(shape) <= side:
            return view
        notes.append("The image is shown smaller than it is, by rendered_side_max")
        return view.scaled(*fitting(shape, (side, side), 1.0))

    def _some_frames(self, asked: Rendering, notes: list[str]) -> range:
        """All frames, or as many of them, evenly chosen, as a moving picture may have."""
        size = asked.size or (self._image.columns, self._image.rows)
        most = max(1, min(self._limits.rendered_frames_max, self._limits.rendered_pixels_max // (size[0] * size[1])))
        step = -(-self._image.frames // most)
        if step > 1:
            notes.append(f"One frame of {step} is shown, by rendered_frames_max and rendered_pixels_max")
        return range(0, self._image.frames, step)

    def _hundredths(self) -> int:
        """How long a frame is shown (C.7.6.5.1.1)."""
        time, rate = self._whole.decimals(_FRAME_TIME), self._whole.decimals(_RATE)
        if rate and rate[0] > 0:
            hundredths = 100 / rate[0]
        else:
            hundredths = time[0] / 10 if time and time[0] > 0 else _HUNDREDTHS_DEFAULT
        return round(min(max(hundredths, _HUNDREDTHS_MIN), _HUNDREDTHS_MAX))

    def _described_floats(self) -> Image:
        """The description of Float or Double Float Pixel Data, in which little is said of the samples (C.7.6.24)."""
        bits = 32 if self._floats == _FLOATS else 64
        numbers = self._stored.numbers | {
            described.SAMPLES_PER_PIXEL: 1,
            described.BITS_ALLOCATED: 32,
            described.BITS_STORED: 32,
            described.HIGH_BIT: 31,
            described.PIXEL_REPRESENTATION: 1,
        }
        image = described.described(numbers, self._stored.texts | {described.PHOTOMETRIC: "MONOCHROME2"})
        described.check_size(image, self._stored.stored_bytes, self._limits)
        element = self._whole.element(self._floats)
        assert element
        if element.length * 8 < image.rows * image.columns * image.frames * bits:
            raise Unfit("the pixel data is shorter than its description")
        return image

    def _float_samples(self, number: int) -> Array:
        element = self._whole.element(self._floats)
        assert element
        kind = f"{self._stored.form.order}f{4 if self._floats == _FLOATS else 8}"
        size = self._image.rows * self._image.columns * np.dtype(kind).itemsize
        raw = self._stored.source.read(element.value + number * size, size)
        samples = np.frombuffer(raw, kind).astype(np.float64).reshape(self._image.rows, self._image.columns)
        return np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
