"""What is true: facts, states, verbs. Plain Python, no library."""
