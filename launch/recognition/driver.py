"""Runs a recogniser over utterances: a model, or a function such as an export.

`Driver` is for models, `run_function` for anything from waveforms to strings.
Their batches are those of `launch.recognition.batches`, which mix the order, so
results carry the utterance's key.

A model takes up to a minute at once, longer sound in windows
(`launch.recognition.windows`).
"""

from collections.abc import (
  Callable,
  Hashable,
  Iterable,
  Iterator,
  Sequence,
)
from typing import Any

import numpy as np
import tensorflow as tf

from launch.recognition import batches
from launch.recognition import windows as windows_
from launch.recognition.batches import Key, sounds_of
from models.speech_model import SpeechModel
from tf_pcc import bars
from tf_pcc.data.mixing import AnyRecords
from tf_pcc.data.text import Tokenizer

# A bar appears where there is time to look at it.
_BAR_DELAY = 5.0


def on_all_cores(
  strategy: tf.distribute.Strategy, function: Callable[..., Any]
) -> Callable[..., Any]:
  """Shares the rows of a batch among the cores.

  Args:
    strategy: tf.distribute strategy of one process.
    function: of nested tensors [B, ...] to nested tensors [B, ...]. Numbers
      only: a TPU has no strings.

  Returns:
    A function of arguments whose rows the cores divide, to the same tensors.
  """
  # The function has nothing that autograph would have to convert.
  function = tf.autograph.experimental.do_not_convert(function)

  @tf.function(autograph=False)
  def run(*parts):
    return strategy.run(function, args=parts)

  def call(*arguments):
    cores = strategy.num_replicas_in_sync

    def part(context):
      core = context.replica_id_in_sync_group
      return tf.nest.map_structure(
        lambda t: tf.split(t, cores)[core], arguments
      )

    parts = strategy.experimental_distribute_values_from_function(part)
    return tf.nest.map_structure(
      lambda value: tf.concat(strategy.experimental_local_results(value), 0),
      run(*parts),
    )

  return call


class Driver:
  """A model over utterances.

  What is traced is kept, for every checkpoint and every set of records: make
  one driver for a model.

  Args:
    model: built model of `models.registry`.
    tokenizer: its `tf_pcc.data.text.Tokenizer`.
    batch_size: most rows of a batch; on a TPU rounded up to the cores.
    progress: whether runs that take long have a bar.
  """

  def __init__(
    self,
    model: SpeechModel,
    tokenizer: Tokenizer,
    batch_size: int = 32,
    progress: bool = False,
  ):
    self.model, self.tokenizer = model, tokenizer
    self._progress = progress
    strategy = getattr(model, "distribute_strategy", None)
    self._strategy, self._cores = None, 1
    if strategy and isinstance(strategy, tf.distribute.TPUStrategy):
      # Every batch has the same shape there: compiling another takes minutes.
      self._strategy, self._cores = strategy, strategy.num_replicas_in_sync
    self._batch_size = -(-batch_size // self._cores) * self._cores
    # Accelerators have memory of their own, which --batch is for.
    self._limited = not (
      self._strategy or tf.config.list_logical_devices("GPU")
    )
    self._graphs, self._finishing = {}, {}

  def transcribe(self, records: AnyRecords) -> list[str]:
    """Greedy transcripts of records.

    Args:
      records: `Records` or `MemoryRecords`.

    Returns:
      list of str, in the order of the records.
    """
    transcripts = [""] * len(records)
    for row, (ids, length) in self.run(self.model.decode, records):
      transcripts[row] = self.tokenizer.decode(ids[:length])
    return transcripts

  def score(self, records: AnyRecords) -> tuple[np.ndarray, list[str]]:
    """Losses and greedy transcripts.

    Args:
      records: `Records` or `MemoryRecords`.

    Returns:
      float64 [n], losses in nats per token (NaN where the text is outside the
      vocabulary), and a list of n transcripts.
    """
    losses = np.full(len(records), np.nan)
    transcripts = [""] * len(records)
    labels = self.tokenizer.encode_batch(records.texts, strict=False)
    found = self.run(self._decode_and_lose, records, labels)
    for row, (ids, length, loss) in found:
      transcripts[row] = self.tokenizer.decode(ids[:length])
      if labels[row]:
        losses[row] = loss / len(labels[row])
    return losses, transcripts

  def _decode_and_lose(self, outputs, y):
    return *self.model.decode(outputs), self.model.example_losses(y, outputs)

  def run(
    self,
    finish: Callable,
    records: AnyRecords,
    labels: Sequence[Sequence[int] | None] | None = None,
  ) -> Iterator:
    """Runs the model over records.

    Args:
      finish: function of the model's outputs, and of y where there are labels,
        to nested tensors [B, ...]; traced once a shape, so the same object each
        time.
      records: `Records` or `MemoryRecords`.
      labels: list of ids of each utterance, None where there are none, for
        `y = {"labels": int32 [B, U], "label_length": int32 [B]}`.

    Yields:
      (number of the record, nested arrays of its row), a batch at a time.
    """
    rate = records.sample_rate
    yield from self.run_sounds(
      finish, sounds_of(records), rate, labels, total=len(records)
    )

  def run_sounds(
    self,
    finish: Callable,
    sounds: Iterable[tuple[Hashable, np.ndarray]],
    sample_rate: int,
    labels: Sequence[Sequence[int] | None] | None = None,
    total: int | None = None,
  ) -> Iterator:
    """As `run`, over (key, int16 [samples]) pairs that are read as needed.

    Args:
      finish: as for `run`.
      sounds: iterable of pairs.
      sample_rate: Hz.
      labels: as for `run`; the keys are its indices then.
      total: number of utterances, for the bar.

    Yields:
      (key, nested arrays of its row).
    """
    width = max([len(ids) for ids in labels or () if ids] or [1])

    def targets(keys):
      if labels is None:
        return ()
      y = {
        "labels": np.zeros([len(keys), width], np.int32),
        "label_length": np.zeros([len(keys)], np.int32),
      }
      for row, key in enumerate(keys):
        ids = labels[key] or []
        y["labels"][row, : len(ids)] = ids
        y["label_length"][row] = len(ids)
      return (y,)

    windows = windows_.Windows(self.model, sample_rate)
    with _bar(total, self._progress) as bar:
      for batch in batches.make(
        windows.cut(sounds),
        sample_rate,
        self._batch_size,
        self._limited,
        kind=lambda key: isinstance(key, windows_.Part),
      ):
        of_windows = isinstance(batch.keys[0], windows_.Part)
        name = None if of_windows else finish
        count = self._rows(name, batch)
        audio, lengths = batch.padded(count)
        keys = batch.keys + batch.keys[:1] * (count - len(batch.keys))
        x = {"audio": audio, "audio_length": lengths}
        found = self._run(name, x, *([] if of_windows else targets(keys)))
        for row, key in enumerate(batch.keys):
          result = tf.nest.map_structure(lambda t, row=row: t[row], found)
          if isinstance(key, windows_.Part):
            outputs = windows.add(key, result)
            if outputs is None:
              continue
            key = key.key
            result = self._finish(finish, outputs, targets([key]))
          bar.update()
          yield key, result

  def _rows(self, name, batch):
    """Rows for a batch: as many as it has, unless others are traced already."""
    count = len(batch.keys)
    if self._strategy:
      return self._batch_size
    known = [
      rows
      for other, (rows, samples), *_ in self._graphs
      if (other, samples) == (name, batch.samples) and rows >= count
    ]
    return min(known, default=count)

  def _run(self, finish, x, *y):
    """What `finish`, or nothing if None, makes of the model's outputs."""
    arguments = tf.nest.map_structure(tf.convert_to_tensor, (x, *y))
    key = finish, *(tuple(t.shape) for t in tf.nest.flatten(arguments))
    if key not in self._graphs:

      def run(x, *y):
        outputs = self.model(x, training=False)
        return outputs if finish is None else finish(outputs, *y)

      if self._strategy:
        self._graphs[key] = on_all_cores(self._strategy, run)
      else:
        self._graphs[key] = _traced(run, arguments)
    found = self._graphs[key](*arguments)
    return tf.nest.map_structure(lambda t: t.numpy(), found)

  def _finish(self, finish, outputs, targets):
    """What `finish` makes of the outputs of one utterance, however long."""
    arguments = tf.nest.map_structure(
      lambda a: tf.convert_to_tensor(a[None]), outputs
    )
    arguments = arguments, *tf.nest.map_structure(tf.convert_to_tensor, targets)
    if finish not in self._finishing:
      self._finishing[finish] = _traced(finish, arguments, any_length=True)
    found = self._finishing[finish](*arguments)
    return tf.nest.map_structure(lambda t: t.numpy()[0], found)


def _traced(function, arguments, any_length=False):
  """The graph of a function of tensors like the arguments.

  Args:
    function: the function.
    arguments: nested tensors.
    any_length: whether the second axis may have any length.
  """

  def spec(tensor):
    shape = tensor.shape
    if any_length and len(shape) > 1:
      shape = [shape[0], None, *shape[2:]]
    return tf.TensorSpec(shape, tensor.dtype)

  return tf.function(function, autograph=False).get_concrete_function(
    *tf.nest.map_structure(spec, arguments)
  )


def run_function(
  transcribe: Callable,
  sounds: Iterable[tuple[Key, np.ndarray]],
  sample_rate: int,
  batch_size: int = 32,
  by_length: bool = True,
  total: int | None = None,
) -> Iterator[tuple[Key, str]]:
  """Runs a function from waveforms to strings over utterances.

  Args:
    transcribe: function (list of float32 [samples], sample_rate) -> strings.
    sounds: (key, int16 [samples]) of each utterance; read as needed.
    sample_rate: Hz.
    batch_size: int, most waveforms of a call.
    by_length: whether utterances of a call have much the same length; else they
      come in the order of the sounds, for functions that remember.
    total: number of utterances, for the bar.

  Yields:
    (key, transcript), a batch at a time.

  Raises:
    ValueError: If the function does not return one string a waveform.
  """
  # SciPy, which comes with it, takes a second to import.
  from tf_pcc import audit

  if by_length:
    made = batches.make(sounds, sample_rate, batch_size)
  else:
    made = batches.consecutive(sounds, batch_size)
  with _bar(total) as bar:
    for batch in made:
      waveforms = [w.astype(np.float32) / 2**15 for w in batch.waveforms]
      texts = audit.transcribe_in_batches(
        transcribe, waveforms, sample_rate, len(waveforms), progress=False
      )
      yield from zip(batch.keys, texts)
      bar.update(len(texts))


def _bar(total, shown=True):
  return bars.make(
    total=total, unit="utterance", disable=not shown, delay=_BAR_DELAY
  )
