"""The web console; its pages arrive with the console."""
