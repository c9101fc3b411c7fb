"""Opens made records of many utterances, and reads a first and a later batch.

  python -m launch.benchmark index --utterances=10000,100000 --json=index.json

The index is whole: ids, transcripts of 5 to 30 words, lengths, places. The
shards are sparse files as long as it says, in which only the records of the
steps that are read are written. Two processes open them one after the other:
the first counts the labels of all transcripts, the second finds that done.
Times are those of all threads of the process together, from before the index is
opened to the last batch; TensorFlow is imported before.
"""

import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Sequence

import numpy as np
from absl import flags, logging

from launch import cli
from launch.benchmark import options
from tf_pcc import files
from tf_pcc.data import (
  audio,
  batching,
  counting,
  examples,
  index,
  records,
  shards,
  synthetic,
  text,
)
from tf_pcc.data.columns import BATCH, arrow
from tf_pcc.data.utterances import Utterance

_UTTERANCES = flags.DEFINE_list(
  "utterances", ["10000", "100000"], "How many, one measurement each."
)
_COUNTED = flags.DEFINE_bool(
  "counted", False, "Whether the labels are counted before the first start."
)
_DIRECTORY = flags.DEFINE_string(
  "directory", None, "Where the records are made; default: the temporary one."
)
# Different transcripts and lengths; the utterances take turns.
_TEMPLATES = 1000
_OF_A_SHARD = 1 << 17
_BUCKETS = (0.1, 0.15, 0.2)


def _templates():
  """Texts, and int16 waveforms of 0.05 to 0.2 s."""
  random = np.random.default_rng(0)
  for _ in range(_TEMPLATES):
    words = random.choice(synthetic.COMMON_WORDS, random.integers(5, 31))
    samples = random.integers(-999, 999, random.integers(800, 3200))
    yield " ".join(words), samples.astype(np.int16)


def _record(row, line, waveform):
  utterance = Utterance(f"u{row:09d}", "", line, speaker=f"s{row % 100:02d}")
  return examples.example(utterance, waveform, "pcm16", audio.SAMPLE_RATE)


def make(directory: str, count: int) -> None:
  """Makes an index, and shards of its size without a record in them.

  Args:
    directory: local folder, made if missing.
    count: utterances.
  """
  pyarrow = arrow()
  os.makedirs(directory, exist_ok=True)
  templates = list(_templates())
  sizes = np.array([len(_record(0, *template)) for template in templates])
  lengths = np.array([len(waveform) for _, waveform in templates])
  texts = pyarrow.array([line for line, _ in templates])
  rows = np.arange(count)
  shard, template = rows // _OF_A_SHARD, rows % _TEMPLATES
  size, samples = sizes[template], lengths[template]
  ends = np.cumsum(size + shards.BEFORE + shards.AFTER)
  first = np.searchsorted(shard, np.arange(shard[-1] + 1))
  before = np.concatenate([[0], ends])[first]
  offset = ends - size - shards.AFTER - before[shard]

  def parts():
    for start in range(0, count, BATCH):
      part = slice(start, start + BATCH)
      names = [f"u{row:09d}" for row in rows[part]]
      yield {
        "id": pyarrow.array(names),
        "text": texts.take(pyarrow.array(template[part])),
        "speaker": pyarrow.array([f"s{row % 100:02d}" for row in rows[part]]),
        "samples": samples[part],
        "shard": shard[part],
        "offset": offset[part],
        "size": size[part],
      }

  sums = ["0" * 64] * (int(shard[-1]) + 1)
  header = {
    "encoding": "pcm16",
    "sample_rate": audio.SAMPLE_RATE,
    "utterances": count,
    "samples": int(samples.sum()),
    "seconds": float(samples.sum() / audio.SAMPLE_RATE),
    "sha256": index.digest(sums),
    "shards": sums,
    "skipped": [],
  }
  index.write(directory, header, parts())
  total = np.append(before, ends[-1])
  for number, name in enumerate(_paths(directory, len(sums))):
    with open(name, "wb") as file:
      file.truncate(int(total[number + 1] - total[number]))


def fill(directory: str, names: list[str]) -> None:
  """Writes some records to their places in the shards.

  Args:
    directory: what `make` made.
    names: ids of the utterances.
  """
  header, columns = index.read(directory)
  templates = list(_templates())
  paths = _paths(directory, len(header["shards"]))
  for name in names:
    row = int(name[1:])
    data = _record(row, *templates[row % _TEMPLATES])
    with open(paths[columns["shard"][row]], "r+b") as file:
      file.seek(int(columns["offset"][row]) - shards.BEFORE)
      file.write(shards.framed(data))


def start(
  directory: str, batch: int, steps: Sequence[int] | None = None
) -> dict:
  """Opens records, and reads the batches of steps; run in its own process.

  Args:
    directory: what `make` made.
    batch: rows of a step.
    steps: ints; None reads none.

  Returns:
    dict with seconds (by the clock), cpu_seconds, opened (CPU seconds of
    opening alone), gigabytes (the peak of the process), steps_per_epoch, steps
    (0 and the middle of the second epoch), and read, the ids of their rows.
  """
  import tensorflow  # noqa: F401

  logging.set_verbosity(logging.ERROR)
  tokenizer = text.WordTokenizer(synthetic.COMMON_WORDS)
  begin, busy = time.monotonic(), time.process_time()
  opened = records.Records(directory)
  after = time.process_time() - busy
  batches = batching.Batches(
    opened,
    tokenizer,
    batch,
    _BUCKETS,
    fits_lengths=lambda labels, repeats, samples: labels + repeats < samples,
  )
  for step in steps or ():
    batches.batch(step)
  seconds, busy = time.monotonic() - begin, time.process_time() - busy
  middle = len(batches) + len(batches) // 2
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  return {
    "seconds": seconds,
    "cpu_seconds": busy,
    "opened": after,
    "gigabytes": peak,
    "steps_per_epoch": len(batches),
    "steps": [0, middle],
    "read": [*batches.ids(0), *batches.ids(middle)],
  }


def count_labels(directory: str) -> None:
  """Keeps the counts of all labels, from those of the templates.

  Args:
    directory: what `make` made.
  """
  texts = records.Records(directory).texts
  tokenizer = text.WordTokenizer(synthetic.COMMON_WORDS)
  counts, repeats = counting.label_counts(
    tokenizer, [line for line, _ in _templates()]
  )
  template = np.arange(len(texts)) % _TEMPLATES
  counting.keep_label_counts(
    tokenizer, texts, counts[template], repeats[template]
  )


def measure(
  directory: str, count: int, batch: int, counted: bool = False
) -> dict:
  """Makes records and starts twice.

  Args:
    directory: an empty local folder.
    count: utterances.
    batch: rows of a step.
    counted: whether the labels are counted before the first start.

  Returns:
    dict with utterances, counted, index_megabytes, and "first" and "later",
    each as `start` gives it without ids.
  """
  make(directory, count)
  if counted:
    count_labels(directory)
  found = {
    "utterances": count,
    "counted": counted,
    "index_megabytes": os.path.getsize(
      os.path.join(directory, index.COLUMNS_FILE)
    )
    / 2**20,
  }
  first = _in_a_process(directory, batch, None)
  fill(directory, first["read"])
  later = _in_a_process(directory, batch, first["steps"])
  for name, result in (("first", first), ("later", later)):
    del result["read"]
    found[name] = result
  return found


def _in_a_process(*arguments):
  with multiprocessing.get_context("spawn").Pool(1) as pool:
    return pool.apply(start, arguments)


def _paths(directory, count):
  return [
    os.path.join(directory, index.shard_name(number, count))
    for number in range(count)
  ]


def main(arguments: Sequence[str]) -> None:
  cli.no_arguments(arguments)
  path, batch = options.json_path(), options.sizes()["batch"]
  try:
    counts = [int(count) for count in _UTTERANCES.value]
  except ValueError:
    counts = [0]
  if min(counts) < 4 * batch:
    raise ValueError(
      f"--utterances must be numbers of at least {4 * batch}, four batches. "
      f"Received: utterances={','.join(_UTTERANCES.value)}"
    )
  print(
    f"{'utterances':>10} {'index MB':>9} {'first CPU s':>11} "
    f"{'later CPU s':>11} {'peak GB':>8}"
  )
  rows = []
  for count in counts:
    with tempfile.TemporaryDirectory(dir=_DIRECTORY.value) as folder:
      row = measure(folder, count, batch, _COUNTED.value)
    rows.append(row)
    print(
      f"{count:10} {row['index_megabytes']:9.1f} "
      f"{row['first']['cpu_seconds']:11.2f} "
      f"{row['later']['cpu_seconds']:11.2f} "
      f"{row['later']['gigabytes']:8.2f}",
      flush=True,
    )
  if path:
    files.write_json(path, {"batch": batch, "index": rows})


if __name__ == "__main__":
  options.define_sizes(batch=256)
  cli.run("launch.benchmark index", main, verbosity=logging.WARNING)
