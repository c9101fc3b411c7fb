"""Loads a saved model in a process that knows the package only by its import.

Usage: python tests/saving_main.py MODEL.keras DATA.npz OUTPUT.npz
"""

import sys

import keras
import numpy as np

import tf_pcc  # noqa: F401  Registers what the file names.


def main():
  model = keras.saving.load_model(sys.argv[1])
  data = np.load(sys.argv[2])
  before = model.optimizer._clipper.save()
  model.fit(data["x"], data["y"], batch_size=8, shuffle=False, verbose=0)
  weights = {f"w{i}": w for i, w in enumerate(model.get_weights())}
  np.savez(sys.argv[3], **weights, **before)


if __name__ == "__main__":
  main()
