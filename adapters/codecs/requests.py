"""What a child process does for one request; loaded by :mod:`adapters.codecs.child` before it is confined."""

from __future__ import annotations

import dataclasses
import errno
import functools
import os
import resource
import struct
import time
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import numpy as np

from adapters.codecs import consumer_images, rewriting
from adapters.codecs.decoding import colour_after, rgb
from adapters.codecs.object import StoredObject
from adapters.codecs.unfit import Absent, Unacceptable, Unasked, Unfit
from adapters.rendering.shown import show
from domain.limits import Limits

Asked = tuple[dict[str, Any], list[int]]
Steps = Generator[None, None, dict[str, Any]]
_LENGTH = struct.Struct("<Q")


def _more_time(seconds: int) -> None:
    """Each frame has so much processor time; past it the kernel ends the process."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + seconds + 1, resource.RLIM_INFINITY))


def answered(requests: list[Asked], limits: Limits) -> list[dict[str, Any]]:
    """Perform requests, a step of each in turn: code and its data are in the caches for those after the first.

    What is wrong with one is told in its answer, as ``Workers.ask`` reads it.
    """
    performed = [_steps(*asked, limits) for asked in requests]
    answers: list[dict[str, Any] | None] = [None] * len(requests)
    while None in answers:
        for number, one in enumerate(performed):
            if answers[number] is None:
                answers[number] = _stepped(one, limits)
    return [answer or {} for answer in answers]


def _stepped(performed: Steps, limits: Limits) -> dict[str, Any] | None:
    """Take the next step; the answer, if it was the last."""
    _more_time(limits.codec_cpu_seconds)
    try:
        next(performed)
    except StopIteration as ended:
        answer: dict[str, Any] = ended.value
        return answer
    except Unacceptable as unacceptable:
        return {"unacceptable": str(unacceptable)}
    except Unfit as unfit:
        return {"unfit": str(unfit)}
    except Absent as absent:
        return {"absent": str(absent)}
    except Unasked as unasked:
        return {"unasked": str(unasked)}
    except MemoryError:
        return {"unfit": "the object needs more memory than codec_memory_max"}
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return {"full": error.strerror}
        return {"failed": error.strerror or type(error).__name__}
    except Exception as error:  # noqa: BLE001 - any other fault is the object's: it fails alone
        return {"unfit": f"the object cannot be converted ({type(error).__name__})"}
    return None


def _steps(request: dict[str, Any], descriptors: list[int], limits: Limits) -> Steps:
    if request["do"] == "unpack":
        return _unpack(request, descriptors, limits)
    inflated, descriptors = (descriptors[0], descriptors[1:]) if request.get("inflated") else (-1, descriptors)
    place = (descriptors[0], request["offset"], request["length"])
    stored = StoredObject(*place, request["stored"], limits, inflated)
    if request["do"] == "convert":
        if stored.native_bytes() > request.get("room", stored.native_bytes()):
            return {"large": True}
        return (yield from _convert(stored, request, descriptors[-1], limits))
    return _done(stored, request, descriptors, limits)


def _done(stored: StoredObject, request: dict[str, Any], descriptors: list[int], limits: Limits) -> dict[str, Any]:
    wanted, out = request.get("wanted", ""), descriptors[-1]
    match request["do"]:
        case "encode":
            _spool(stored, wanted, request["first"], request["count"], descriptors[1], out, limits)
            return {}
        case "write":
            lengths = _lengths(descriptors[2])
            return _written(stored, request, lengths, _cut(descriptors[1], lengths), out)
        case "show":
            more_time = functools.partial(_more_time, limits.codec_cpu_seconds)
            state = request.get("state")
            place = (descriptors[1], state["offset"], state["length"], state["stored"]) if state else None
            by = StoredObject(*place, limits) if place else None
            return show(stored, request["asked"], out, limits, more_time, by)
        case "decode":
            return _decode(stored, request["frame"], out)
    raise ValueError(request["do"])


def _convert(stored: StoredObject, request: dict[str, Any], out: int, limits: Limits) -> Steps:
    """The whole object, if it is small enough to be one process's work; else how many frames it has."""
    wanted, alone_max = request["wanted"], request["alone_max"]
    needs_pixels = rewriting.needs_pixels(stored.syntax, wanted)
    if needs_pixels and stored.has_float_pixels:
        raise Unfit("pixels that are floats are not encapsulated")
    if stored.pixels is None or not needs_pixels:
        return _written(stored, request, [], (), out)
    image = stored.image()
    if image.frames > 1 and image.decoded_bytes * image.frames > alone_max:
        return {"frames": image.frames, "frame_bytes": image.decoded_bytes}
    frame = rewriting.framing(stored, wanted)
    around = rewriting.enclosure(stored, wanted) if "room" in request else None
    yield
    first = frame(0)
    if around:
        return rewriting.enclose(first, around, out)._asdict()
    encoded = [first]
    for number in range(1, image.frames):
        _more_time(limits.codec_cpu_seconds)
        encoded.append(frame(number))
    return _written(stored, request, [len(frame) for frame in encoded], encoded, out)


def _written(
    stored: StoredObject, request: dict[str, Any], lengths: list[int], pixels: Iterable[bytes], out: int
) -> dict[str, Any]:
    as_instance = request["lossy_as_instance"]
    return rewriting.write(stored, request["wanted"], lengths, pixels, out, lossy_as_instance=as_instance)._asdict()


def _spool(stored: StoredObject, wanted: str, first: int, count: int, lengths: int, out: int, limits: Limits) -> None:
    """Frames one after the other, and the length of each at its place in the file of lengths."""
    sizes = []
    frame = rewriting.framing(stored, wanted)
    with os.fdopen(os.dup(out), "wb") as file:
        for number in range(first, first + count):
            sizes.append(file.write(frame(number)))
            _more_time(limits.codec_cpu_seconds)
    os.pwrite(lengths, struct.pack(f"<{count}Q", *sizes), first * _LENGTH.size)


def _lengths(descriptor: int) -> list[int]:
    data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    return [length for (length,) in _LENGTH.iter_unpack(data)]


def _cut(descriptor: int, lengths: list[int]) -> Iterator[bytes]:
    """The bytes of a file, cut into values of these lengths."""
    position = 0
    for length in lengths:
        yield os.pread(descriptor, length, position)
        position += length


def _decode(stored: StoredObject, number: int, out: int) -> dict[str, Any]:
    image = stored.image()
    if not 0 <= number < image.frames:
        raise Unfit("there is no such frame")
    colour = colour_after(stored.syntax, image)
    array = rgb(stored.array(image, number), colour)
    with os.fdopen(os.dup(out), "wb") as file:
        file.write(np.ascontiguousarray(array).tobytes())
    described = dataclasses.replace(image, planar=0, photometric="RGB" if colour.startswith("YBR") else colour)
    return {"image": dataclasses.asdict(described)}


def _unpack(request: dict[str, Any], descriptors: list[int], limits: Limits) -> dict[str, Any]:
    data = os.pread(descriptors[0], request["length"], request["offset"])
    more_time = functools.partial(_more_time, limits.codec_cpu_seconds)
    image, frames = consumer_images.decoded(data, request["media_type"], request["samples"], limits, more_time)
    with os.fdopen(os.dup(descriptors[-1]), "ab") as file:
        for frame in frames:
            file.write(frame.tobytes())
    return {"image": dataclasses.asdict(image)}
