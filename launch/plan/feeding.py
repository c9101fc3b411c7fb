"""What a slice's hosts must read, and what this machine reads."""

import dataclasses
import time

from ml_collections import config_dict

from launch.plan import estimate, planning, topologies
from launch.runs import datasets
from tf_pcc.data import audio, batching, records, text

_PCM_BYTES = 2
_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Need:
  """What one host must read for its cores to never wait.

  Attributes:
    utterances: a second, at the estimated time of a step.
    bytes: of 16-bit PCM a second, at the same.
    utterances_at_the_roofline: a second, the most a host can ever need.
  """

  utterances: float
  bytes: float
  utterances_at_the_roofline: float


@dataclasses.dataclass(frozen=True)
class Measured:
  """What this machine read.

  Attributes:
    path: of the records.
    utterances: a second, assembled to batches.
    bytes: of 16-bit PCM a second.
    seconds: that were measured.
  """

  path: str
  utterances: float
  bytes: float
  seconds: float


def need(
  shape: planning.Shape,
  topology: topologies.Topology,
  time_of_step: estimate.StepTime,
) -> Need:
  """What one host of a slice must read.

  Args:
    shape: of a core's batch; all utterances are taken to be of its length.
    topology: the slice.
    time_of_step: the estimate.

  Returns:
    `Need`, for one second.

  Example:

  >>> topology = topologies.parse("v5e:4x4")
  >>> shape = planning.Shape(32, 16000, 20, 32)
  >>> times = estimate.StepTime(0.1, 0.1, 0.0, 0.1, 0.25, ())
  >>> need(shape, topology, times)
  Need(utterances=512.0, bytes=16384000.0, utterances_at_the_roofline=1280.0)
  """
  rows = shape.batch * topology.cores / topology.hosts
  utterances = rows / time_of_step.estimate
  return Need(
    utterances=utterances,
    bytes=utterances * shape.samples * _PCM_BYTES,
    utterances_at_the_roofline=rows / time_of_step.ideal,
  )


def measure(
  config: config_dict.ConfigDict,
  path: str,
  batch: int,
  topology: topologies.Topology,
  seconds: float = _SECONDS,
) -> Measured:
  """Reads records as one host of the slice would in training.

  What the system has in its cache is read from there, as in training's later
  epochs.

  Args:
    config: the experiment's: buckets and seed.
    path: directory of records.
    batch: utterances of a core.
    topology: the slice.
    seconds: how long, after the first batch.

  Returns:
    What was read.

  Raises:
    ValueError: If there are no records, or too few for one batch.
  """
  source = records.Records(path)
  if source.sample_rate != audio.SAMPLE_RATE:
    raise ValueError(
      f"Records must be at {audio.SAMPLE_RATE} Hz. Received: sample_rate="
      f"{source.sample_rate}, measure_input={path}"
    )
  if config.tokenizer.path:
    tokenizer = datasets.make_tokenizer(config, None)
  else:
    # The pieces are not what takes time.
    tokenizer = text.build_tokenizer("character", source.texts)
  batches = batching.Batches(
    source,
    tokenizer,
    batch * topology.cores,
    config.data.buckets_seconds or None,
    seed=config.seed,
    cores=topology.cores,
    augmentation=datasets.make_augmentation(config),
  )
  feed = iter(batches.dataset(num_pipelines=topology.hosts))
  next(feed)
  utterances = samples = 0
  start = time.monotonic()
  while time.monotonic() - start < seconds or not utterances:
    x, _ = next(feed)
    utterances += len(x["audio_length"])
    samples += int(x["audio_length"].numpy().sum())
  spent = time.monotonic() - start
  return Measured(path, utterances / spent, samples * _PCM_BYTES / spent, spent)
