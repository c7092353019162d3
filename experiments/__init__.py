"""Experiments: one file each; every one yields variations of a config, runs them and draws one table."""
