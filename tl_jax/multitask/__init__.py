"""Several tasks on one backbone (Caruana 1997): each has its own data, loss, head and, above a stated block,
its own copy of the network; what lies below is shared.

A task by itself is a job like any other, on a network like any other, and nothing here builds a new kind of
network. Only leaves are put together: `Union` says which of them are one for all tasks. So frozen prefixes,
augmentation, plans, evaluation, export and the report of each task are those of a run of that task alone.
"""
