"""How many utterances a host reads a second, from a disk or from storage.

  python -m launch.benchmark input --records=gs://BUCKET/records --batch=256
  python -m launch.benchmark input --latency_ms=50 --json=input.json

The batches are those of training, in its order. Without --records they are
made: as long as --duration says, on this disk, and with --latency_ms behind a
stand-in of Google Cloud Storage that answers each request after so long. The
stand-in shares this machine's cores with what is measured.
"""

import os
import resource
import tempfile
import time
from typing import Any

import numpy as np
from absl import flags

from launch import cli
from launch.benchmark import options, storage_service
from tf_pcc import files
from tf_pcc.data import audio, batching, index, records, text, writing
from tf_pcc.data.utterances import Utterance

_RECORDS = flags.DEFINE_string("records", None, "A directory of records.")
_LATENCY = flags.DEFINE_float(
  "latency_ms", 0.0, "Of a request to the stand-in; 0: local files.", 0.0
)
_MADE = 1024
# Steps after which no batch is left that was read before the clock started.
_WARM = 4


class _Stored(records.Records):
  """Records whose index is read here and whose shards stand in a bucket."""

  def paths(self) -> list[str]:
    shards = len(self.index["shards"])
    return [
      f"gs://bucket/{index.shard_name(number, shards)}"
      for number in range(shards)
    ]


def make(
  directory: str, seconds: float, utterances: int = _MADE, shards: int = 1
) -> None:
  """Records of noise, seeded.

  Args:
    directory: Directory to make.
    seconds: Length of each utterance.
    utterances: How many.
    shards: Number of files.
  """
  random = np.random.default_rng(0)
  samples = round(seconds * audio.SAMPLE_RATE)
  pairs = (
    (
      Utterance(f"u{row:04d}", "", "A"),
      random.integers(-999, 999, samples).astype(np.int16),
    )
    for row in range(utterances)
  )
  writing.write_records(pairs, directory, shards=shards, progress=False)


def measure(source: Any, batch: int, steps: int) -> dict[str, float]:
  """Reads batches in the order of training.

  Args:
    source: `Records`.
    batch: Utterances of a step.
    steps: How many are timed, after a few that are not.

  Returns:
    dict with utterances_per_second, seconds_of_sound_per_second,
    megabytes_per_second (of 16-bit audio), cpu_seconds_per_utterance of this
    process and peak_memory_gb.
  """
  # As launch.plan --measure_input does: the pieces are not what takes time.
  tokenizer = text.build_tokenizer("character", source.texts)
  batches = batching.Batches(source, tokenizer, batch)
  feed = iter(batches.dataset())
  for _ in range(_WARM):
    next(feed)
  start, cpu, samples = time.monotonic(), time.process_time(), 0
  for _ in range(steps):
    samples += int(next(feed)[0]["audio_length"].numpy().sum())
  took = time.monotonic() - start
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  return {
    "utterances_per_second": batch * steps / took,
    "seconds_of_sound_per_second": samples / source.sample_rate / took,
    "megabytes_per_second": 2e-6 * samples / took,
    "cpu_seconds_per_utterance": (time.process_time() - cpu) / (batch * steps),
    "peak_memory_gb": peak,
  }


def run(
  source: str | None, batch: int, steps: int, seconds: float, latency: float
) -> dict[str, Any]:
  """Opens or makes records, and measures.

  Args:
    source: A directory of records; None: they are made.
    batch: As of `measure`.
    steps: As of `measure`.
    seconds: Of each utterance that is made.
    latency: Seconds that the stand-in waits before it answers; 0: made records
      are local files.

  Returns:
    What `measure` found.

  Raises:
    ValueError: If the records are not there or hold no full batch.
  """
  if source:
    return measure(records.Records(source), batch, steps)
  with tempfile.TemporaryDirectory() as folder:
    directory = os.path.join(folder, "records")
    make(directory, seconds)
    if not latency:
      return measure(records.Records(directory), batch, steps)
    with storage_service.serving_elsewhere(directory, latency) as host:
      os.environ["STORAGE_EMULATOR_HOST"] = host
      return measure(_Stored(directory), batch, steps)


def main(arguments: list[str]) -> None:
  cli.no_arguments(arguments)
  path = options.json_path()
  settings = {
    "source": _RECORDS.value,
    "batch": options.sizes()["batch"],
    "steps": options.rounds(),
    "seconds": options.duration(),
    "latency": _LATENCY.value / 1000,
  }
  found = run(**settings)
  for name, value in found.items():
    print(f"{name:30} {value:12.4g}")
  if path:
    files.write_json(path, {**settings, **found})


if __name__ == "__main__":
  options.define_rounds(8)
  options.define_sizes(batch=256)
  flags.DEFINE_float("duration", 12.0, "Seconds of sound.", lower_bound=0.1)
  cli.run("launch.benchmark input", main)
