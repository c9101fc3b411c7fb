"""The logarithm of zero, as lattices and beams hold it."""

# Finite, so that differences are never NaN; sums of it stay far from overflow.
LOG_ZERO = -1e30
