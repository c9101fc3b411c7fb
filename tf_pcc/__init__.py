"""Per-core clipping for TensorFlow 2 and Keras 3.

Importing the package registers its Keras objects, so that
`keras.saving.load_model` finds them. Where TensorFlow is not installed the
NumPy-only parts, `tf_pcc.audit`, work all the same; so they do beside another
backend of Keras.
"""

from tf_pcc import compatibility

__version__ = "0.2.0"

compatibility.check()

# Why the names below are not there, if they are not.
_reason = compatibility.foreign_backend()
__all__ = []

if not _reason:
  try:
    import keras

    from tf_pcc.bounds import FixedBound, MinBound, QuantileBound
    from tf_pcc.clipping_spec import Clipping
    from tf_pcc.monitoring import ClippingMonitor
    from tf_pcc.optimizer import PerCoreClipping
    from tf_pcc.running_bound import RunningBound
    from tf_pcc.training import PerCoreModel
  except ModuleNotFoundError as error:
    if (error.name or "").split(".")[0] not in ("keras", "tensorflow"):
      raise
    _reason = (
      f"tf_pcc's optimizer and model need TensorFlow and Keras: pip install "
      f"tf_pcc. Received: no module named {error.name!r}"
    )
  else:
    _reason = compatibility.foreign_backend(keras.config.backend())
    __all__ = [
      "Clipping",
      "ClippingMonitor",
      "FixedBound",
      "MinBound",
      "PerCoreClipping",
      "PerCoreModel",
      "QuantileBound",
      "RunningBound",
    ]


def __getattr__(name):
  """Says why a name is missing, where that is known."""
  # Only what the package would have: others ask for __path__ and the like.
  if _reason and name[:1].isupper():
    raise ImportError(_reason)
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
