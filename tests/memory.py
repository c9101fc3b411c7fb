"""Frees the graphs that tests trace, which TensorFlow would keep for ever."""

import ctypes
import gc
import sys

import keras
from tensorflow.python.framework import ops


def forget_graphs():
  """Frees every traced graph that nothing else refers to.

  A custom gradient in a graph, such as that of `all_reduce`, is registered in
  TensorFlow's table of gradients under a name of its own, and the entry refers
  to the graph: each `fit` under a strategy keeps 5 to 15 MB. No public function
  removes it. A function traced before must not be differentiated afterwards.

  What the C library holds in reserve after that goes back to the system.
  """
  table = ops.gradient_registry._registry
  for name in [name for name in table if name.startswith("CustomGradient-")]:
    del table[name]
  keras.utils.clear_session(free_memory=False)
  gc.collect()
  if sys.platform == "linux":
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # It is glibc's alone.
      trim(0)
