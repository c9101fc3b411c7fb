"""Programs: python -m launch.train, evaluate, transcribe, prepare, ..."""

import os

# TensorFlow's C++ start-up messages, three of them wrongly errors, would bury
# what the programs say. Python exceptions are not affected.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
