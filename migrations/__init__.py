"""Only what cannot be rebuilt: the log, the particulars, positions, roles. Numbered plain SQL files."""
