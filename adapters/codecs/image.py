"""The Image Pixel Module's description of a picture (PS3.3 C.7.6.3), checked against limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.codecs.unfit import Unfit
from domain.limits import Limits

SAMPLES_PER_PIXEL, PHOTOMETRIC, PLANAR, FRAMES = 0x00280002, 0x00280004, 0x00280006, 0x00280008
ROWS, COLUMNS = 0x00280010, 0x00280011
BITS_ALLOCATED, BITS_STORED, HIGH_BIT, PIXEL_REPRESENTATION = 0x00280100, 0x00280101, 0x00280102, 0x00280103
LOSSY, RATIO, METHOD = 0x00282110, 0x00282112, 0x00282114
IMAGE_TYPE, DERIVATION = 0x00080008, 0x00082111
SOP_CLASS, SOP_INSTANCE, STUDY, SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
NUMBERS = (SAMPLES_PER_PIXEL, PLANAR, ROWS, COLUMNS, BITS_ALLOCATED, BITS_STORED, HIGH_BIT, PIXEL_REPRESENTATION)
TEXTS = (PHOTOMETRIC, FRAMES, LOSSY)

SUBSAMPLED = ("YBR_FULL_422", "YBR_PARTIAL_422")
_RATIO_FROM = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Image:
    """How the pixels are described."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    photometric: str
    planar: int
    frames: int

    @property
    def is_subsampled(self) -> bool:
        """Two pixels share their chrominance (C.7.6.3.1.2)."""
        return self.samples == 3 and self.photometric in SUBSAMPLED

    @property
    def frame_bits(self) -> int:
        """The bits of one native frame."""
        samples = 2 if self.is_subsampled else self.samples
        return self.rows * self.columns * samples * self.bits_allocated

    @property
    def decoded_bytes(self) -> int:
        """The bytes of one frame in memory, all samples of each pixel."""
        return self.rows * self.columns * self.samples * max(1, self.bits_allocated // 8)

    @property
    def is_compact(self) -> bool:
        """The stored bits are the low ones."""
        return self.high_bit == self.bits_stored - 1


def described(numbers: Mapping[int, int], texts: Mapping[int, str]) -> Image:
    """The description, whole and consistent. Raises Unfit."""
    try:
        rows, columns = numbers[ROWS], numbers[COLUMNS]
        allocated = numbers[BITS_ALLOCATED]
        frames_text = texts.get(FRAMES, "").split("\\")[0].strip(" \0")
        frames = int(frames_text) if frames_text else 1
    except (KeyError, ValueError) as error:
        raise Unfit("the image is not fully described") from error
    samples = numbers.get(SAMPLES_PER_PIXEL, 1)
    stored = numbers.get(BITS_STORED, allocated)
    image = Image(
        rows,
        columns,
        samples,
        allocated,
        stored,
        numbers.get(HIGH_BIT, stored - 1),
        numbers.get(PIXEL_REPRESENTATION, 0) == 1,
        texts.get(PHOTOMETRIC, "").strip(" \0") or ("MONOCHROME2" if samples == 1 else "RGB"),
        numbers.get(PLANAR, 0) if samples > 1 else 0,
        frames,
    )
    if allocated not in (1, 8, 16, 32) or samples not in (1, 3) or not (1 <= stored <= allocated):
        raise Unfit("the image's bits or samples are not supported")
    if not (stored - 1 <= image.high_bit < allocated and rows and columns and frames > 0):
        raise Unfit("the image's description contradicts itself")
    return image


def check_size(image: Image, encoded_bytes: int, limits: Limits) -> None:
    """Refuse what would decode to too much (B14, B15). Raises Unfit."""
    if max(image.rows, image.columns) > limits.decoded_side_max or image.frames > limits.decoded_frames_max:
        raise Unfit("the image has more rows, columns or frames than the limits")
    if image.decoded_bytes > limits.decoded_frame_max:
        raise Unfit("a frame is larger than decoded_frame_max")
    whole = image.decoded_bytes * image.frames
    if whole > limits.decoded_object_max:
        raise Unfit("the image is larger than decoded_object_max")
    if whole > _RATIO_FROM and whole > encoded_bytes * limits.decoded_ratio_max:
        raise Unfit("the image decodes to more than decoded_ratio_max times its size")
