"""Long use of one process: memory must stay flat, answers must stay the same.

  python -m tests.faults.soak
  python -m tests.faults.soak --requests=200 --steps=300

A small LSTM, whose memory grows with the length only, is exported, and its
SavedModel answers requests from 64 threads at once, in ten rounds: sound of no
length, of seconds, of ten minutes, NaN, infinity, lengths that are wrong. Each
answer must equal the one that the same request got alone. Then a process trains
and evaluates on the validation set every ten steps. Memory is what the process
holds (VmRSS) after each round of requests, and at every tenth of the training.
The exit code is 1 if an answer differed, or if memory was 10% more in the
second half than in the first.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import sys
import tempfile
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np

from tests.faults.samples import tiny_config, tones
from tests.faults.server import _memory, in_child

_RATE = 16000
_THREADS = 64
_MINUTES_LONG = 10
# One in so many requests is that long.
_SHARE_OF_LONG = 100
_ROUNDS = 10
_GROWTH = 1.1


def _kinds():
  """Requests (waveforms float32 [1, samples], lengths int32 [1]) by name."""
  random = np.random.default_rng(0)

  def noise(seconds):
    samples = int(seconds * _RATE)
    return random.uniform(-0.3, 0.3, samples).astype(np.float32)

  def bad(value, place):
    sound = noise(2)
    sound[place] = value
    return sound

  sounds = {
    **{"no sample": noise(0), "one sample": noise(1 / _RATE)},
    **{"less than a frame": noise(0.02), "1 s": noise(1), "3.3 s": noise(3.3)},
    **{"17 s": noise(17), "silence": np.zeros(2 * _RATE, np.float32)},
    **{"NaN at the start": bad(np.nan, 0), "NaN at the end": bad(np.nan, -1)},
    **{"infinity": bad(np.inf, 9999), "1e30": bad(1e30, 5000)},
    **{"full scale": np.ones(_RATE, np.float32), "tiny": noise(1) * 1e-30},
  }
  kinds = {name: (s, len(s)) for name, s in sounds.items()}
  kinds["NaN behind its length"] = bad(np.nan, -1), _RATE
  kinds["a length beyond the end"] = noise(1), 10**9
  kinds["a length below 0"] = noise(1), -5
  long = noise(1)
  long = np.tile(long, 60 * _MINUTES_LONG)
  return (
    {
      name: (sound[None], np.array([length], np.int32))
      for name, (sound, length) in kinds.items()
    },
    (long[None], np.array([long.shape[0]], np.int32)),
  )


def _export(folder):
  from launch import export
  from launch.runs import checkpoints, experiment, opening, saved_config
  from tf_pcc.data import text

  config = tiny_config(folder)
  config.model.name = "lstm_ctc"
  config.model.fields = {
    "encoder": {"units": 8, "layers": 1},
    "features": {"mels": 16},
  }
  tokenizer = text.build_tokenizer("character", ["HELLO WORLD"])
  model = experiment.make_model(config, tokenizer.vocab_size)
  model.compile(optimizer="sgd")
  model.optimizer.build(model.trainable_variables)
  run = str(folder / "run")
  saved_config.save_config(run, config)
  opening.save_tokenizer(run, tokenizer)
  checkpoints.Checkpoints(run, model).save(1)
  export.export(run, str(folder / "exported"))


def _serve(folder, count, result_path):
  """Asks `count` requests; writes memory by round and what differed."""
  import tensorflow as tf

  loaded = tf.saved_model.load(str(folder / "exported"))
  serve = loaded.signatures["serving_default"]
  kinds, long = _kinds()

  def answer(request):
    waveforms, lengths = request
    found = serve(
      waveforms=tf.constant(waveforms), lengths=tf.constant(lengths)
    )
    return {name: value.numpy().tolist() for name, value in found.items()}

  count //= _ROUNDS
  requests = [*kinds.items()]
  requests = [requests[i % len(requests)] for i in range(count)]
  for i in range(0, count, _SHARE_OF_LONG):
    requests[i] = f"{_MINUTES_LONG} minutes", long
  order = np.random.default_rng(1).permutation(count)
  requests = [requests[i] for i in order]
  alone = {name: answer(r) for name, r in dict(requests).items()}
  memory, differing, started = [], [], time.monotonic()
  with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
    for _ in range(_ROUNDS):
      found = pool.map(lambda pair: answer(pair[1]), requests)
      for (name, _), got in zip(requests, found, strict=True):
        if got != alone[name]:
          differing.append([name, got, alone[name]])
      memory.append(_memory("VmRSS"))
  result = {
    **{"memory": memory, "differing": len(differing), "first": differing[:1]},
    **{"requests": count * _ROUNDS, "kinds": len(alone)},
    **{"seconds": time.monotonic() - started, "most": _memory("VmHWM")},
  }
  result_path.write_text(json.dumps(result))


def _train(folder, steps, result_path):
  """Trains and evaluates every tenth step; writes memory by tenth."""
  from launch import train
  from launch.runs import cluster, metrics
  from tf_pcc.data import records

  for name, count in (("train", 24), ("validation", 3), ("test", 3)):
    records.write_records(list(tones(count, 1)), folder / name, progress=False)
  config = tiny_config(folder)
  config.data.validation = str(folder / "validation")
  config.steps, config.validate_every, config.cores = steps, 10, 1
  config.log_every, config.checkpoint_every = 10, steps // 5
  memory, ended = {}, threading.Event()
  path = folder / "soak" / "metrics.jsonl"

  def watch():
    while not ended.wait(0.2):
      lines = path.read_text().count("\n") if path.exists() else 0
      memory.setdefault(lines * 10 * _ROUNDS // steps, _memory("VmRSS"))

  thread = threading.Thread(target=watch)
  thread.start()
  started = time.monotonic()
  train.train(config, str(folder / "soak"), cluster.logical_cores(1))
  ended.set()
  thread.join()
  lines = metrics.read(str(folder / "soak"))
  result = {
    "memory": [memory[tenth] for tenth in sorted(memory) if tenth],
    "steps": lines[-1]["step"],
    "evaluations": sum("validation_wer" in line for line in lines),
    "seconds": time.monotonic() - started,
  }
  result_path.write_text(json.dumps(result))


def grew(memory):
  """How much more the most of the second half is than the most of the first.

  Args:
    memory: list of bytes, at least two.

  Returns:
    float, 1 for the same.
  """
  half = len(memory) // 2
  return max(memory[half:]) / max(memory[:half])


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--requests", type=int, default=1000)
  parser.add_argument("--steps", type=int, default=3000)
  given = parser.parse_args()
  bad = False
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    in_child(_export, folder)
    for title, function, count in (
      ("serving", _serve, given.requests),
      ("training", _train, given.steps),
    ):
      path = folder / f"{title}.json"
      in_child(function, folder, count, path)
      found = json.loads(path.read_text())
      memory = found.pop("memory")
      growth = grew(memory)
      bad |= growth > _GROWTH or bool(found.get("differing"))
      print(f"{title}: {found}")
      megabytes = ", ".join(f"{m / 2**20:.0f}" for m in memory)
      print(
        f"  memory in MB: {megabytes}; grew by {growth - 1:.1%}", flush=True
      )
  sys.exit(int(bad))


if __name__ == "__main__":
  main()
