"""Only what cannot be rebuilt: the log, the particulars, positions, private keys. Numbered plain SQL files."""
