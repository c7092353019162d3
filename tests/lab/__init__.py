"""Mirrors tl_jax/lab."""
