"""Pure nouns and rules. Nothing here does I/O, reads a clock or logs."""
