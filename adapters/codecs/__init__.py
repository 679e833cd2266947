"""Transfer syntaxes: pixels are decoded and encoded only in child processes with limits (reliability D20)."""
