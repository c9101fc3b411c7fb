"""Per-core clipping for TensorFlow 2 and Keras 3.

Names are resolved on first use (PEP 562): `import tf_pcc.audit` needs NumPy and
SciPy only, and does not start TensorFlow.
"""

import importlib

_HOMES = {
  "Clipping": "tf_pcc.clipper",
  "ClippingMonitor": "tf_pcc.monitoring",
  "FixedBound": "tf_pcc.bounds",
  "MinBound": "tf_pcc.bounds",
  "PerCoreClipping": "tf_pcc.optimizer",
  "PerCoreModel": "tf_pcc.training",
  "QuantileBound": "tf_pcc.bounds",
  "RunningBound": "tf_pcc.bounds",
}

__all__ = sorted(_HOMES)
__version__ = "0.1.0"


def __getattr__(name):
  if name not in _HOMES:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__():
  return sorted([*globals(), *__all__])
