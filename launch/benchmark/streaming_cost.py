"""How fast and how late a streaming recogniser is, on one core.

  taskset -c 1 python -m launch.benchmark streaming --model_size=S

One stream (or --batch=N), chunk after chunk, as a server would receive it.
The real-time factor is computing time over the sound's duration, all chunks
together; the latency of a chunk is its own duration, for its first sample has
waited so long until the chunk is complete, and then the computing. Weights are
random: they change no time. Resident memory is the whole process's at its peak.
"""

import dataclasses
import resource
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from launch import cli
from launch.benchmark import options
from models import registry, streaming
from models.streaming import StreamingConformerCTC
from tf_pcc import bars, files

# Chunks before the clock starts: the first traces.
_WARM_UP = 3


def measure(
  model: StreamingConformerCTC, seconds: float, streams: int = 1
) -> dict[str, Any]:
  """Transcribes noise chunk by chunk.

  Args:
    model: `streaming.StreamingConformerCTC`.
    seconds: float, duration of the sound.
    streams: int, rows of a batch.

  Returns:
    dict of figures: seconds where no other unit is named.
  """
  step = streaming.compile_step(model, streams)
  state = model.initial_state(streams)
  chunk = model.chunk_samples
  length = tf.fill([streams], chunk)
  count = max(1, round(seconds / model.latency_seconds))
  random = np.random.default_rng(0)
  times = []
  for _ in bars.make(range(_WARM_UP + count), unit="chunk"):
    audio = random.normal(0, 0.1, [streams, chunk]).astype(np.float32)
    start = time.perf_counter()
    outputs, state = step(audio, state, length)
    # Here when it can be read.
    outputs["ids"].numpy()
    times.append(time.perf_counter() - start)
  times = np.array(times[_WARM_UP:])
  median, slow = np.quantile(times, [0.5, 0.95])
  parameters = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
  return {
    "parameters": parameters,
    "streams": streams,
    "encoder": dataclasses.asdict(model.encoder.config),
    "chunk": model.latency_seconds,
    "sound": count * model.latency_seconds,
    "median_computing": median,
    "slow_computing": slow,
    "latency": model.latency_seconds + median,
    "real_time_factor": times.sum() / (count * model.latency_seconds),
    "state_bytes": sum(t.numpy().nbytes for t in state.values()),
    "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    / 2**20,
  }


def report(figures: dict[str, Any]) -> str:
  """The figures in words.

  Args:
    figures: what `measure` found.

  Returns:
    Lines of text.
  """
  encoder = figures["encoder"]
  return "\n".join(
    [
      f"{figures['parameters']:,} parameters, {figures['streams']} streams, "
      f"{figures['sound']:.0f} s of sound, state of "
      f"{figures['state_bytes'] / 2**20:.2f} MiB, peak memory "
      f"{figures['peak_memory_gb']:.2f} GB",
      f"chunk: {encoder['chunk_frames']} frames, "
      f"{1000 * figures['chunk']:.0f} ms, {encoder['left_chunks']} chunks seen "
      "before it, nothing after it",
      f"computing a chunk: median {1000 * figures['median_computing']:.1f} ms, "
      f"95% within {1000 * figures['slow_computing']:.1f} ms",
      f"latency of a chunk: {1000 * figures['chunk']:.0f} ms algorithmic, "
      f"{1000 * figures['latency']:.0f} ms with computing",
      f"real-time factor: {figures['real_time_factor']:.4f}",
    ]
  )


def main(arguments: Sequence[str]) -> None:
  cli.no_arguments(arguments)
  path, sizes = options.json_path(), options.sizes()
  size = options.model_size()
  model = registry.build_model(
    "streaming_conformer_ctc", {"size": size}, sizes["vocab"]
  )
  figures = measure(model, options.duration(), sizes["batch"])
  if path:
    files.write_json(path, {"size": size, **figures})
  print(report(figures))


if __name__ == "__main__":
  options.define_sound(list(streaming.SIZES), "S", 60.0)
  options.define_sizes(batch=1, vocab=1024)
  cli.run("launch.benchmark streaming", main, verbosity=logging.WARNING)
