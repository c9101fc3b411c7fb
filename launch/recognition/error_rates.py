"""Transcribing records with a model, and error rates of the result."""

import dataclasses

import tensorflow as tf

from tf_pcc import extras
from tf_pcc.data import batching


@dataclasses.dataclass(frozen=True)
class Score:
  """Error rates of a set of transcripts.

  Attributes:
    wer: word errors over words of the references.
    cer: character errors over characters of the references.
    substitutions: words.
    deletions: words.
    insertions: words.
    words: words of the references.
    utterances: transcripts scored.
    errors: word errors of each transcript, in order.
  """

  wer: float
  cer: float
  substitutions: int
  deletions: int
  insertions: int
  words: int
  utterances: int
  errors: tuple[int, ...]


def require_jiwer():
  """The module jiwer, or an ImportError that says how to get it."""
  return extras.load("jiwer", "The word error rate", "train")


def batches(records, tokenizer, batch_size):
  """Every utterance once, in batches of few shapes, each at most half padding.

  Args:
    records: `Records` or `MemoryRecords`.
    tokenizer: `tf_pcc.data.text.Tokenizer`.
    batch_size: int.

  Yields:
    The numbers of a batch's rows in the records, -1 for a filled row, and what
    a model takes.
  """
  longest = max(records.samples) / records.sample_rate
  found = batching.evaluation_batches(
    records,
    tokenizer,
    batch_size,
    bucket_boundaries_seconds=[longest * 2.0**-i for i in (3, 2, 1, 0)],
  )
  for rows, (x, _, _) in zip(found.rows, found):
    yield rows, x


def on_all_cores(strategy, function):
  """Shares the rows of a batch among the cores.

  Args:
    strategy: tf.distribute strategy of one process.
    function: of a batch, a dict of tensors [B, ...], to tensors [B, ...].
      Numbers only: a TPU has no strings.

  Returns:
    A function of a batch whose rows the cores divide, to the same tensors.
  """
  # The function has nothing that autograph would have to convert.
  function = tf.autograph.experimental.do_not_convert(function)

  @tf.function(autograph=False)
  def run(parts):
    return strategy.run(function, args=(parts,))

  def call(x):
    cores = strategy.num_replicas_in_sync

    def part(context):
      core = context.replica_id_in_sync_group
      return {name: tf.split(t, cores)[core] for name, t in x.items()}

    parts = strategy.experimental_distribute_values_from_function(part)
    return [
      tf.concat(strategy.experimental_local_results(value), 0)
      for value in run(parts)
    ]

  return call


def compiled(model, function, batch_size):
  """A function of batches as a graph, on all cores of a TPU.

  Args:
    model: the model it calls.
    function: as `on_all_cores` takes.
    batch_size: int.

  Returns:
    The function, and the rows its batches must have.
  """
  strategy = getattr(model, "distribute_strategy", None)
  if isinstance(strategy, tf.distribute.TPUStrategy):
    cores = strategy.num_replicas_in_sync
    return on_all_cores(strategy, function), -(-batch_size // cores) * cores
  return tf.function(function, reduce_retracing=False), batch_size


def transcribe(model, tokenizer, records, batch_size=32):
  """Greedy transcripts of all records.

  Args:
    model: built model of `models.registry`.
    tokenizer: the model's `tf_pcc.data.text.Tokenizer`.
    records: `Records` or `MemoryRecords`.
    batch_size: int.

  Returns:
    list of strings, in the order of the records.
  """

  def decode(x):
    return model.decode(model(x, training=False))

  recognise, batch_size = compiled(model, decode, batch_size)
  result = [""] * len(records)
  for rows, x in batches(records, tokenizer, batch_size):
    ids, lengths = (t.numpy() for t in recognise(x))
    for row, sequence, length in zip(rows, ids, lengths):
      if row >= 0:
        result[row] = tokenizer.decode(sequence[:length])
  return result


def score(references, hypotheses):
  """Word and character error rates, by jiwer.

  Args:
    references: list of transcripts; an empty one makes every word of its
      hypothesis an insertion.
    hypotheses: list of as many transcripts.

  Returns:
    `Score`.

  Raises:
    ValueError: when the lists differ in length or no reference has a word.
  """
  jiwer = require_jiwer()
  if len(references) != len(hypotheses) or not any(references):
    raise ValueError(
      "references and hypotheses must be as many, with words among them. "
      f"Received: {len(references)} references, {len(hypotheses)} hypotheses"
    )
  errors, cer_errors, characters = [], 0, 0
  counts = {"substitutions": 0, "deletions": 0, "insertions": 0}
  for reference, hypothesis in zip(references, hypotheses):
    if not reference:
      # jiwer refuses empty references.
      errors.append(len(hypothesis.split()))
      counts["insertions"] += errors[-1]
      cer_errors += len(hypothesis)
      continue
    words = jiwer.process_words(reference, hypothesis)
    for name in counts:
      counts[name] += getattr(words, name)
    errors.append(words.substitutions + words.deletions + words.insertions)
    letters = jiwer.process_characters(reference, hypothesis)
    cer_errors += letters.substitutions + letters.deletions + letters.insertions
    characters += len(reference)
  words = sum(len(r.split()) for r in references)
  return Score(
    wer=sum(errors) / words,
    cer=cer_errors / characters,
    words=words,
    utterances=len(references),
    errors=tuple(errors),
    **counts,
  )
