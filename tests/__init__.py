"""The tests; the tree mirrors `streams`."""
