"""Programs: python -m launch.train, evaluate, transcribe, prepare, ..."""

import os
import sys

from launch import startup

# TensorFlow's C++ start-up messages, three of them wrongly errors, would bury
# what the programs say. Python exceptions are not affected.
if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3":
  sys.meta_path.insert(0, startup.QuietTensorFlow())

try:
  import ml_collections  # noqa: F401
except ModuleNotFoundError:
  sys.exit(
    "The programs need the extra [train], in the checkout: "
    "pip install -e '.[train]'. Received: no module ml_collections"
  )
