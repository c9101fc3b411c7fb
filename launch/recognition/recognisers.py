"""What can be audited: a trained model, a SavedModel, any function."""

import importlib
import os
import sys

import numpy as np
import tensorflow as tf

from launch.recognition import litert
from launch.runs import checkpoints
from tf_pcc import files
from tf_pcc.data import batching


class Recogniser:
  """Losses and greedy transcripts of a model, checkpoint after checkpoint.

  Everything is traced once for all checkpoints.

  Args:
    model: built model of `models.registry`.
    tokenizer: its `tf_pcc.data.text.Tokenizer`.
    batch_size: int.
  """

  def __init__(self, model, tokenizer, batch_size=64):
    self.model, self._tokenizer = model, tokenizer
    self._batch_size = batch_size

    @tf.function(autograph=False)
    def transcribe(x, y):
      del y
      return model.decode(model(x, training=False))

    @tf.function(autograph=False)
    def score(x, y):
      outputs = model(x, training=False)
      return *model.decode(outputs), model.example_losses(y, outputs)

    self._transcribe, self._score = transcribe, score

  def restore(self, checkpoint):
    """Takes the weights of a checkpoint."""
    checkpoints.restore_weights(self.model, checkpoint)

  def transcribe(self, records):
    """Greedy transcripts of `Records` or `MemoryRecords`, a list of strings."""
    transcripts = [""] * len(records)
    for row, _, ids, _ in self._results(self._transcribe, records):
      transcripts[row] = self._tokenizer.decode(ids)
    return transcripts

  def score(self, records):
    """Losses and greedy transcripts.

    Args:
      records: `Records` or `MemoryRecords`.

    Returns:
      float64 [n], losses in nats per token (NaN where the text is outside the
      vocabulary), and a list of n transcripts.
    """
    losses = np.full(len(records), np.nan)
    transcripts = [""] * len(records)
    for row, tokens, ids, rest in self._results(self._score, records):
      transcripts[row] = self._tokenizer.decode(ids)
      if tokens:
        losses[row] = rest[0] / tokens
    return losses, transcripts

  def _results(self, function, records):
    """Yields (row of the records, number of labels, ids heard, the rest)."""
    longest = max(records.samples) / records.sample_rate
    batches = batching.evaluation_batches(
      records,
      self._tokenizer,
      min(self._batch_size, len(records)),
      # Few shapes, each at most half padding.
      bucket_boundaries_seconds=[longest * 2.0**-i for i in (2, 1, 0)],
    )
    for rows, (x, y, _) in zip(batches.rows, batches):
      ids, lengths, *rest = (t.numpy() for t in function(x, y))
      tokens = y["label_length"].numpy()
      for i, row in enumerate(rows):
        if row >= 0:
          yield row, tokens[i], ids[i][: lengths[i]], [r[i] for r in rest]


def saved_model_function(directory):
  """The transcribe function of a SavedModel.

  Args:
    directory: a SavedModel whose serving_default signature takes waveforms,
      float32 [B, samples], and lengths, integers [B], unless it has no use for
      them, and gives strings [B] among its outputs.

  Returns:
    function (waveforms, sample_rate) -> list of strings.

  A directory of a LiteRT model that `launch.export` wrote is taken too.

  Raises:
    ValueError: when there is no such model or signature.
  """
  if tf.io.gfile.exists(files.join(directory, litert.FILE)):
    return litert.transcribe_function(directory)
  if not tf.io.gfile.exists(files.join(directory, "saved_model.pb")):
    raise ValueError(
      "--saved_model must be a directory that holds saved_model.pb. "
      f"Received: saved_model={directory}"
    )
  loaded = tf.saved_model.load(directory)
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
    heard = signature(**arguments)[strings[0]].numpy()
    return [text.decode() for text in heard]

  # The signature lives as long as the model it came from.
  transcribe.model = loaded
  return transcribe


def import_function(name):
  """The function that MODULE:FUNCTION names.

  Raises:
    ValueError: when there is none.
  """
  module, colon, function = name.partition(":")
  # Modules of the current directory, as with python -m.
  if os.getcwd() not in sys.path:
    sys.path.insert(0, os.getcwd())
  try:
    found = getattr(importlib.import_module(module), function)
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
