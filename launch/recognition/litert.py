"""LiteRT (formerly TensorFlow Lite): a model for phones, and its use here."""

import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from launch.recognition import export_folder
from tf_pcc import files

FILE = "model.tflite"


class _Owner(tf.Module):
  """What saves variables that no layer of its own holds."""

  def __init__(self, variables):
    super().__init__()
    self.variables_ = variables


def convert(
  function: Callable[..., dict[str, tf.Tensor]],
  variables: Sequence[tf.Variable],
) -> bytes:
  """Converts to a LiteRT model of LiteRT's own operations only.

  Args:
    function: `tf.function` with an input signature, such as
      `serving.litert_function`.
    variables: list of the tf.Variables that it uses.

  Returns:
    bytes, with the function as signature serving_default.

  Raises:
    ValueError: If the model needs an operation that LiteRT has not.
  """
  module = _Owner(variables)
  with tempfile.TemporaryDirectory() as directory:
    tf.saved_model.save(
      module,
      directory,
      signatures={"serving_default": function.get_concrete_function()},
      options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
    )
    try:
      return tf.lite.TFLiteConverter.from_saved_model(directory).convert()
    except Exception as error:  # The converter's own kinds have no common one.
      raise ValueError(
        "format litert needs a model of LiteRT's own operations: "
        f"{str(error)[:300]}. Received: format=litert"
      ) from error


@dataclasses.dataclass(frozen=True)
class _Metadata:
  """What is read of an export's metadata.json."""

  surfaces: list[str]
  # SHA-256 by name; exports from before there were any have none.
  files: dict[str, str] = dataclasses.field(default_factory=dict)


def transcribe_function(
  directory: str | os.PathLike, threads: int = 1
) -> Callable[[Sequence[np.ndarray], int], Sequence[str]]:
  """The transcribe function of an exported LiteRT model.

  Args:
    directory: what `launch.export --format=litert` wrote.
    threads: int, of the interpreter.

  Returns:
    function (waveforms, sample_rate) -> list of strings.

  Raises:
    ValueError: If a file is damaged.
  """
  metadata = files.read_json(
    files.join(directory, "metadata.json"), "export again", _Metadata
  )
  path = files.join(directory, FILE)
  with tf.io.gfile.GFile(path, "rb") as file:
    content = file.read()
  # What is damaged would end the process.
  found = hashlib.sha256(content).hexdigest()
  expected = metadata.get("files", {}).get(FILE, found)
  export_folder.require_digest(path, found, expected)
  interpreter = tf.lite.Interpreter(model_content=content, num_threads=threads)
  surfaces = metadata["surfaces"]
  run = interpreter.get_signature_runner()

  def transcribe(waveforms, sample_rate):
    del sample_rate  # 16 kHz, as in training.
    texts = []
    for waveform in waveforms:
      found = run(
        waveforms=np.asarray(waveform, np.float32)[None],
        lengths=np.array([len(waveform)], np.int32),
      )
      ids = found["token_ids"][0][: found["token_counts"][0]]
      texts.append("".join(surfaces[i] for i in ids).strip())
    return texts

  return transcribe
