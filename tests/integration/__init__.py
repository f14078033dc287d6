"""Tests of the parts together, on real brokers."""
