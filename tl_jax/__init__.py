"""Transfer learning in JAX: pretrained weights, frozen layers, honest reports."""
