"""The laboratory: many runs that differ in a few keys of their config, executed, recorded and compared.

An experiment (a file in ``experiments/``) yields variations of a base config (`grid`); `runner` executes
each with every seed and keeps a line about each run (`records`); `compare` says what the runs differ by.
"""
