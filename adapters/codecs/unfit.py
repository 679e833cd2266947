"""What the child processes answer where an object cannot be had in another form."""


class Unfit(Exception):
    """The object cannot be decoded, encoded or shown so. The text holds no patient data."""


class Unasked(Exception):
    """What is asked for is not in the object: the request is wrong, not the object."""


class Absent(Unasked):
    """The part of the object that is asked for does not exist."""


class Unacceptable(Unfit):
    """The object cannot be had in any of the media types that are asked for."""
