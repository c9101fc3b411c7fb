"""Uses an exported model as a stranger would: with TensorFlow and NumPy only.

Usage: python exported_main.py MODEL WAVEFORMS.npz RESULT.json

Nothing of this project, of tensorflow-text or of tensorflow-io can be imported
here, even where it is installed.
"""

import json
import sys

FORBIDDEN = ("tf_pcc", "models", "launch", "tensorflow_text", "tensorflow_io")


class _Refuse:
  def find_spec(self, name, path=None, target=None):
    if name.split(".")[0] in FORBIDDEN:
      raise ImportError(f"{name} must not be needed")
    return None


def main():
  sys.meta_path.insert(0, _Refuse())
  import numpy as np
  import tensorflow as tf

  model, waveforms, result = sys.argv[1:]
  serve = tf.saved_model.load(model).signatures["serving_default"]
  given = np.load(waveforms)
  found = serve(
    waveforms=tf.constant(given["waveforms"]),
    lengths=tf.constant(given["lengths"]),
  )
  answer = {
    "transcripts": [t.decode() for t in found["transcripts"].numpy()],
    "token_ids": found["token_ids"].numpy().tolist(),
    "token_counts": found["token_counts"].numpy().tolist(),
    "scores": [str(s) for s in found["scores"].numpy()],
    "modules": sorted({name.split(".")[0] for name in sys.modules}),
  }
  with open(result, "w") as file:
    json.dump(answer, file)


if __name__ == "__main__":
  main()
