"""A local page over the store, and reports as one file. Reads the store only; nothing of the package needs it."""
