"""The papers' backbone for comparison: a T5-style encoder-decoder over code tokens, on the edge backbone's own tokens."""
