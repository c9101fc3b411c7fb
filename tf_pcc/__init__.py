"""Per-core clipping for TensorFlow 2 and Keras 3.

Importing the package registers its Keras objects, so that
`keras.saving.load_model` finds them. Where TensorFlow is not installed the
NumPy-only parts, `tf_pcc.audit`, work all the same.
"""

from tf_pcc import compatibility

__version__ = "0.2.0"

compatibility.check()

try:
  from tf_pcc.bounds import FixedBound, MinBound, QuantileBound
  from tf_pcc.clipping_spec import Clipping
  from tf_pcc.monitoring import ClippingMonitor
  from tf_pcc.optimizer import PerCoreClipping
  from tf_pcc.running_bound import RunningBound
  from tf_pcc.training import PerCoreModel
except ModuleNotFoundError as error:
  if (error.name or "").split(".")[0] not in ("keras", "tensorflow"):
    raise
  __all__ = []
else:
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
