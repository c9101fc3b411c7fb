"""Functions that XLA compiles, where it can."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf

Function = TypeVar("Function", bound=Callable[..., Any])


@functools.cache
def host_compiles() -> bool:
  """Whether XLA compiles for the CPU, which is tried once.

  The wheel of tensorflow-tpu compiles for TPUs only: there it "could not find
  registered transfer manager for platform Host".

  Returns:
    bool.
  """
  with tf.init_scope(), tf.device("CPU:0"):
    try:
      tf.function(tf.negative, autograph=False, jit_compile=True)(1.0)
    except tf.errors.OpError:
      return False
  return True


def compiled(function: Function) -> Function:
  """A `tf.function` of its own, compiled by XLA.

  Where XLA does not compile for the CPU it is left to what calls it: a TPU's
  program is compiled whole, and on the CPU its operations run one by one.

  Args:
    function: of tensors, without Python's control flow over their values.

  Returns:
    A function of the same arguments and results.
  """

  @functools.cache
  def variant(compiles):
    return tf.function(
      function, autograph=False, jit_compile=True if compiles else None
    )

  @functools.wraps(function)
  def call(*args, **kwargs):
    return variant(host_compiles())(*args, **kwargs)

  return call  # pyright: ignore[reportReturnType]
