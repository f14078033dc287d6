"""Tests of what measures, where a wrong figure would not be noticed."""
