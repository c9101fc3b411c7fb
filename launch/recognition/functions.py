"""Recognisers that are functions: a SavedModel, a LiteRT model, any other."""

import importlib
import os
import sys
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from launch.recognition import export_folder, litert
from tf_pcc import files

# Of what TensorFlow says.
_SHOWN = 300


def saved_model_function(
  directory: str | os.PathLike,
) -> Callable[[Sequence[np.ndarray], int], Sequence[str]]:
  """The transcribe function of a SavedModel.

  Args:
    directory: a SavedModel whose serving_default signature takes waveforms,
      float32 [B, samples], and lengths, integers [B], unless it has no use for
      them, and gives strings [B] among its outputs.

  Returns:
    function (waveforms, sample_rate) -> list of strings.

  A directory of a LiteRT model that `launch.export` wrote is taken too.

  Raises:
    ValueError: If there is no such model or signature, or it is damaged.
  """
  if tf.io.gfile.exists(files.join(directory, litert.FILE)):
    return litert.transcribe_function(directory)
  if not tf.io.gfile.exists(files.join(directory, "saved_model.pb")):
    raise ValueError(
      "--saved_model must be a directory that holds saved_model.pb. "
      f"Received: saved_model={directory}"
    )
  export_folder.require_as_written(directory)
  try:
    loaded = tf.saved_model.load(directory)
  except Exception as error:  # TensorFlow's own kinds have no common one.
    raise ValueError(
      "--saved_model must be a SavedModel as TensorFlow wrote it: export "
      f"again, or restore a copy. Received: saved_model={directory}, "
      f"{type(error).__name__}: {str(error)[:_SHOWN]}"
    ) from error
  signature = loaded.signatures.get("serving_default")
  inputs = signature.structured_input_signature[1] if signature else {}
  outputs = signature.structured_outputs if signature else {}
  sound = [k for k, s in inputs.items() if s.dtype.is_floating]
  lengths = [k for k, s in inputs.items() if s.dtype.is_integer]
  strings = [
    k for k, s in outputs.items() if s.dtype == tf.string and s.shape.rank == 1
  ]
  known = len(sound) == 1 and len(lengths) <= 1 and len(strings) == 1
  if not known or len(inputs) != len(sound) + len(lengths):
    raise ValueError(
      "--saved_model must have a signature serving_default from waveforms "
      "float [B, samples] (and their lengths, integers [B]) to strings [B]. "
      f"Received: inputs={inputs}, outputs={outputs}"
    )

  def transcribe(waveforms, sample_rate):
    del sample_rate  # 16 kHz, as in training.
    samples = np.array([len(w) for w in waveforms])
    padded = np.zeros([len(waveforms), samples.max()], np.float32)
    for row, waveform in zip(padded, waveforms):
      row[: len(waveform)] = waveform
    arguments = {sound[0]: tf.cast(padded, inputs[sound[0]].dtype)}
    for name in lengths:
      arguments[name] = tf.cast(samples, inputs[name].dtype)
    transcripts = signature(**arguments)[strings[0]].numpy()
    return [text.decode() for text in transcripts]

  # The signature lives as long as the model it came from.
  transcribe.model = loaded
  return transcribe


def import_function(
  name: str,
) -> Callable[[Sequence[np.ndarray], int], Sequence[str]]:
  """The function that a user names.

  Args:
    name: MODULE:FUNCTION; modules of the current directory are found, too.

  Returns:
    The function, of waveforms and their rate in Hz, that returns transcripts.

  Raises:
    ValueError: If there is none.
  """
  module, colon, function = name.partition(":")
  # Modules of the current directory, as with python -m.
  if os.getcwd() not in sys.path:
    sys.path.insert(0, os.getcwd())
  try:
    found: Callable[[Sequence[np.ndarray], int], Sequence[str]] = getattr(
      importlib.import_module(module), function
    )
  except (ImportError, AttributeError, ValueError) as error:
    raise ValueError(
      "--transcribe must be MODULE:FUNCTION, such as "
      "examples.audit_pocketsphinx:transcribe, with the module on PYTHONPATH: "
      f"{error}. Received: transcribe={name!r}"
    ) from error
  if not colon or not callable(found):
    raise ValueError(
      "--transcribe must name a function as MODULE:FUNCTION. "
      f"Received: transcribe={name!r}"
    )
  return found
