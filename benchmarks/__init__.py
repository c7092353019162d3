"""Benchmarks: each pairs two ways of doing one thing within one run, in turns, and prints their ratio."""
