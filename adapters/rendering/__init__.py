"""From stored objects to what a person sees: the work of the limited child processes of :mod:`adapters.codecs`."""
