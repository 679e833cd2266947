"""What is asked for, as a message from the server to a child process, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from domain.rendering import ColourSpace, Region, Rendering, Shape, Window


def message_of(asked: Rendering) -> dict[str, Any]:
    """What is asked for, as JSON."""
    message = dataclasses.asdict(asked)
    message["colour_space"] = asked.colour_space.value
    if asked.window is not None:
        message["window"]["shape"] = asked.window.shape.value
    return message


def rendering_of(message: Mapping[str, Any]) -> Rendering:
    """What was asked for."""
    window, region, size = message["window"], message["region"], message["size"]
    return Rendering(
        media_types=tuple(message["media_types"]),
        frame=message["frame"],
        window=Window(window["center"], window["width"], Shape(window["shape"])) if window else None,
        region=Region(**region) if region else None,
        size=(size[0], size[1]) if size else None,
        quality=message["quality"],
        colour_space=ColourSpace(message["colour_space"]),
        annotations=tuple(message["annotations"]),
    )
