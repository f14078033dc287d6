"""What the worker costs. `make bench` runs it; the figures are never asserted in tests."""
