"""Colours: palettes, deep samples, ICC profiles (PS3.3 C.7.6.3.1.2, C.11.15; PS3.18 8.3.5.1.5)."""

from __future__ import annotations

from typing import Any

import numpy as np

from adapters.codecs.decoding import Array
from adapters.codecs.image import Image
from adapters.rendering.attributes import Attributes
from adapters.rendering.lookup import palette
from domain.rendering import ColourSpace

_PROFILE, _OPTICAL_PATHS, _DESCRIPTOR = 0x00282000, 0x00480105, 0x00281101
_LEVELS = (6, 7, 6)
_ROMM_RGB: dict[str, Any] = {
    "whitepoint": (0.3457, 0.3585, 1.0),
    "primaries": (0.7347, 0.2653, 1.0, 0.1596, 0.8404, 1.0, 0.0366, 0.0001, 1.0),
    "gamma": 1.8,
}
_DISPLAY_P3: dict[str, Any] = {
    "whitepoint": (0.3127, 0.3290, 1.0),
    "primaries": (0.680, 0.320, 1.0, 0.265, 0.690, 1.0, 0.150, 0.060, 1.0),
    "gamma": 2.2,
}


def coloured(samples: Array, whole: Attributes, image: Image) -> Array:
    """RGB of 8 bits from the decoded samples of a colour image."""
    if image.photometric == "PALETTE COLOR":
        tables = palette(whole, signed=image.is_signed)
        mask = (1 << image.bits_stored) - 1
        indices = samples if image.is_signed else samples & mask
        return np.stack([table.of(indices) for table in tables], axis=-1)
    if samples.dtype == np.uint8:
        return samples
    return (samples >> max(0, image.bits_stored - 8)).clip(0, 255).astype(np.uint8)


def has_palette(attributes: Attributes) -> bool:
    """Whether gray levels are given colours."""
    return _DESCRIPTOR in attributes


def pseudo_coloured(levels: Array, state: Attributes) -> Array:
    """RGB of gray levels by the palette of a presentation state, whose first entry is for black (PS3.4 N.2.2)."""
    tables = palette(state, signed=False)
    return np.stack([one.of(one.first + levels * ((len(one.entries) - 1) / 255)) for one in tables], axis=-1)


def in_colour_space(pixels: Array, whole: Attributes, wanted: ColourSpace, *, can_embed: bool) -> tuple[Array, bytes]:
    """The pixels in the wanted colours, and the profile that goes with them, empty for none.

    By default the object's own profile is applied, and what is shown is sRGB.
    """
    if wanted is ColourSpace.NONE:
        return pixels, b""
    own = _own_profile(whole) if pixels.ndim == 3 else b""
    if wanted is ColourSpace.OWN and own:
        return pixels, own if can_embed else b""
    if wanted is ColourSpace.DEFAULT and not own:
        return pixels, b""
    if pixels.ndim == 2:
        pixels = np.stack([pixels] * 3, axis=-1)
    profile = _profile(wanted)
    source = own or _profile(ColourSpace.SRGB)
    if source != profile:
        import imagecodecs

        try:
            pixels = np.asarray(imagecodecs.cms_transform(pixels, source, profile, colorspace="rgb"))
        except (ValueError, RuntimeError):
            # A profile that cannot be used describes nothing: the colours stay as they are.
            return pixels, b""
    return pixels, profile if can_embed and wanted is not ColourSpace.DEFAULT else b""


def _profile(wanted: ColourSpace) -> bytes:
    """The profile of a well-known colour space (PS3.6 Table 8-1); sRGB where none is named."""
    import imagecodecs

    if wanted is ColourSpace.ADOBE_RGB:
        return bytes(imagecodecs.cms_profile("adobergb"))
    if wanted is ColourSpace.ROMM_RGB:
        return bytes(imagecodecs.cms_profile("rgb", **_ROMM_RGB))
    if wanted is ColourSpace.DISPLAY_P3:
        return bytes(imagecodecs.cms_profile("rgb", **_DISPLAY_P3))
    return bytes(imagecodecs.cms_profile("srgb"))


def _own_profile(whole: Attributes) -> bytes:
    if _PROFILE in whole:
        return whole.raw(_PROFILE)
    path = whole.item(_OPTICAL_PATHS)
    return path.raw(_PROFILE) if path is not None else b""


def indexed(pixels: Array) -> tuple[Array, Array]:
    """Frames (frames, rows, columns[, 3]) with at most 256 colours, and these: gray levels stay, colours are dithered.

    Colours are exact where there are no more than 256.
    """
    if pixels.ndim == 3:
        return pixels, np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    packed = pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    found, index = np.unique(packed, return_inverse=True)
    if len(found) <= 256:
        colours = np.zeros((256, 3), np.uint8)
        colours[: len(found)] = np.stack((found >> 16, found >> 8 & 255, found & 255), axis=-1)
        return index.reshape(packed.shape).astype(np.uint8), colours
    return _dithered(pixels)


def _dithered(pixels: Array) -> tuple[Array, Array]:
    """The nearest of 252 colours, with an ordered pattern that hides the steps between them."""
    rows, columns = pixels.shape[1:3]
    pattern = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16 - 0.47
    pattern = np.tile(pattern, (-(-rows // 4), -(-columns // 4)))[:rows, :columns].astype(np.float32)
    index = np.zeros(pixels.shape[:3], np.uint8)
    for plane, levels in enumerate(_LEVELS):
        step = pixels[..., plane].astype(np.float32) * ((levels - 1) / 255) + pattern
        index = index * levels + np.clip(np.rint(step), 0, levels - 1).astype(np.uint8)
    cube = np.indices(_LEVELS).reshape(3, -1).T
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(cube)] = np.rint(cube * 255 / (np.array(_LEVELS) - 1))
    return index, colours
