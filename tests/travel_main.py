"""Writes a file of every kind and what it holds, or reads those of another.

  python -m tests.travel_main write FOLDER
  python -m tests.travel_main read FOLDER NUMBERS.npz

Both end with the numbers that the files of FOLDER give in this environment:
what a Keras file computes and how it trains on, what a run's checkpoint
computes and how the run goes on, the samples of records, the transcripts of an
export, and a canary plan.
"""

import os
import pathlib
import shutil
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import tensorflow as tf

import tf_pcc
from launch import export, train
from launch.configs import base
from launch.runs import opening
from tf_pcc import audit
from tf_pcc.data import records
from tf_pcc.data.utterances import Utterance

CORES, STEPS = 2, 3


def strategy():
  return tf.distribute.MirroredStrategy(
    [f"CPU:{core}" for core in range(CORES)],
    cross_device_ops=tf.distribute.ReductionToOneDevice(),
  )


def examples():
  x = np.random.default_rng(1).standard_normal((32, 4)).astype(np.float32)
  return x, x[:, :1] - 2 * x[:, 1:2]


def waveforms(count=8):
  rng = np.random.default_rng(2)
  for i in range(count):
    samples = int(rng.integers(3200, 6400))
    tone = 0.3 * np.sin(np.arange(samples) * rng.uniform(0.1, 1))
    yield Utterance(f"u{i}", "", ("AB", "B A")[i % 2]), tone.astype(np.float32)


def config(folder, steps):
  found = base.get_config()
  found.data.train = found.data.test = str(folder / "records")
  found.batch, found.steps, found.cores = 4, steps, CORES
  found.log_every, found.checkpoint_every = 1, 100
  found.tokenizer.kind = "character"
  found.optimizer.schedule = "constant"
  found.model.fields = {
    "size": "tiny",
    "encoder": {"dim": 16, "blocks": 1, "heads": 2, "kernel": 3},
    "features": {"mels": 16},
  }
  return found


def write(folder):
  """Writes all kinds of files."""
  records.write_records(list(waveforms()), folder / "records", progress=False)
  keras.utils.set_random_seed(0)
  with strategy().scope():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    bound = tf_pcc.RunningBound(0.9)
    model.compile(tf_pcc.PerCoreClipping("adam", bound=bound), loss="mse")
  model.fit(*examples(), batch_size=8, shuffle=False, verbose=0)
  model.save(folder / "model.keras")
  train.train(config(folder, STEPS), str(folder / "run"), strategy())
  export.export(str(folder / "run"), str(folder / "export"))
  plan = audit.make_plan(
    voices=[{"voice": "en"}],
    vocabulary=["BA", "RO", "LI", "TU"],
    repetitions=(1, 8),
    canaries_per_count=3,
    holdout=20,
  )
  plan.save(folder / "canaries.json")


def numbers(folder):
  """What the files give here: dict of arrays."""
  found = {}
  corpus = records.Records(folder / "records")
  found["records"] = np.concatenate(
    [corpus.read(i) for i in range(len(corpus))]
  )
  found["texts"] = np.array(corpus.texts)
  x, y = examples()
  with strategy().scope():
    model = keras.saving.load_model(folder / "model.keras")
  found["keras"] = model.predict(x, verbose=0)
  model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
  found["keras_on"] = np.concatenate([w.ravel() for w in model.get_weights()])
  model, *_ = opening.load_model(str(folder / "run"))
  found["checkpoint"] = np.concatenate([w.ravel() for w in model.get_weights()])
  served = tf.saved_model.load(str(folder / "export"))
  for i, (_, sound) in enumerate(waveforms()):
    answer = served.signatures["serving_default"](
      waveforms=tf.constant(sound[None]), lengths=tf.constant([len(sound)])
    )
    found[f"export_{i}"] = answer["scores"].numpy()
    found[f"transcript_{i}"] = answer["transcripts"].numpy().astype(str)
  with tempfile.TemporaryDirectory() as copy:
    shutil.copytree(folder / "run", copy, dirs_exist_ok=True)
    train.train(config(folder, STEPS + 2), copy, strategy())
    model, *_ = opening.load_model(copy)
  found["run_on"] = np.concatenate([w.ravel() for w in model.get_weights()])
  plan = audit.CanaryPlan.load(folder / "canaries.json")
  found["plan"] = np.array([plan.digest(), *(c.text for c in plan.all)])
  return found


def main():
  """Writes, or reads only; see the head of the file."""
  cpu = tf.config.list_physical_devices("CPU")[0]
  logical = [tf.config.LogicalDeviceConfiguration()] * CORES
  tf.config.set_logical_device_configuration(cpu, logical)
  what, folder, *output = sys.argv[1:]
  folder = pathlib.Path(folder)
  if what == "write":
    folder.mkdir(parents=True, exist_ok=True)
    write(folder)
    output = [folder / "numbers.npz"]
  np.savez(output[0], version=tf.__version__, **numbers(folder))


if __name__ == "__main__":
  main()
