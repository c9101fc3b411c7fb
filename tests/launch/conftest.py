"""A tiny recogniser and a tiny corpus for the programs."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from launch import train
from launch.configs import base
from launch.runs import checkpoints, experiment, opening, saved_config
from tests.conftest import mirrored
from tests.launch.tpu_cloud import Cloud
from tf_pcc.data import records, text
from tf_pcc.data.utterances import Utterance

ROOT = pathlib.Path(__file__).resolve().parents[2]
UTTERANCES = 24
TEXTS = ("AB", "BA", "A B", "BB A", "ABBA")


def _tones(count, seed):
  """Utterances of 0.2 to 0.4 s: noise over a tone, seeded."""
  random = np.random.default_rng(seed)
  for i in range(count):
    samples = int(random.integers(3200, 6400))
    tone = np.sin(np.arange(samples) * random.uniform(0.1, 1.0))
    waveform = 0.3 * tone + 0.05 * random.standard_normal(samples)
    yield (
      Utterance(f"{seed}-{i:03d}", "", TEXTS[i % len(TEXTS)]),
      waveform.astype(np.float32),
    )


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
  """Records directories "train", "validation" and "test" in one folder."""
  folder = tmp_path_factory.mktemp("corpus")
  for seed, (name, count) in enumerate(
    (("train", UTTERANCES), ("validation", 3), ("test", 5))
  ):
    records.write_records(
      list(_tones(count, seed)), folder / name, progress=False
    )
  return folder


def _tiny_config(corpus):
  config = base.get_config()
  config.data.train = str(corpus / "train")
  config.data.test = str(corpus / "test")
  config.batch, config.steps, config.cores = 4, 3, 2
  config.log_every, config.checkpoint_every = 1, 100
  config.tokenizer.kind = "character"
  config.model.fields = {
    "size": "tiny",
    "encoder": {"dim": 16, "blocks": 1, "heads": 2, "kernel": 3},
    "features": {"mels": 16},
  }
  # The rate of a step does not depend on how many there are.
  config.optimizer.schedule = "constant"
  return config


@pytest.fixture
def make_config(corpus):
  """A function (steps=..., clipping={...}, ...) -> the tiny experiment."""

  def make(**fields):
    config = _tiny_config(corpus)
    for name, value in fields.items():
      if isinstance(value, dict):
        config[name].update(value)
      else:
        config[name] = value
    return config

  return make


@pytest.fixture(scope="session")
def train_cores():
  """A function (config, directory, cores=2) that trains in this process."""

  def run(config, directory, cores=2):
    return train.train(config, str(directory), mirrored(cores))

  return run


@dataclasses.dataclass(frozen=True)
class Finished:
  """How a program ended."""

  code: int
  stdout: str
  stderr: str

  @property
  def complaint(self):
    """The one line in which a program refuses; asserts that it is one."""
    assert self.code != 0, self.stdout
    assert "Traceback" not in self.stderr, self.stderr
    lines = [line for line in self.stderr.splitlines() if line.strip()]
    named = [line for line in lines if line.startswith("launch.")]
    assert named == lines[-1:], self.stderr
    return named[0]


class _Programs:
  """The process that runs programs, one for all modules of a session."""

  def __init__(self):
    self._server = subprocess.Popen(
      [sys.executable, "-m", "tests.launch.programs_main"],
      cwd=ROOT,
      env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )

  def run(self, program, *arguments, environment=None):
    request = [environment or {}, program, *map(str, arguments)]
    self._server.stdin.write(json.dumps(request) + "\n")
    self._server.stdin.flush()
    return Finished(*json.loads(self._server.stdout.readline()))

  def end(self):
    self._server.stdin.close()
    self._server.wait()


_PROGRAMS = []


def pytest_collection_finish(session):
  # Before modules get processes of their own, or each would start another.
  if any("run_program" in item.fixturenames for item in session.items):
    _PROGRAMS.append(_Programs())


def pytest_sessionfinish():
  while _PROGRAMS:
    _PROGRAMS.pop().end()


@pytest.fixture(scope="session")
def run_program():
  """A function (program, *arguments, environment={}) -> `Finished`."""
  return _PROGRAMS[0].run


@pytest.fixture
def write_config(make_config, tmp_path):
  """A function of fields like `make_config` -> path of a config's file."""

  def write(code="", **fields):
    path = tmp_path / "experiment.py"
    path.write_text(
      "import json\n"
      "from launch.configs import base\n"
      "def get_config():\n"
      "  config = base.get_config()\n"
      f"  fields = json.loads({make_config(**fields).to_json()!r})\n"
      "  config.model.fields = fields['model'].pop('fields')\n"
      "  config.update(fields)\n"
      f"  {code}\n"
      "  return config\n"
    )
    return f"--config={path}"

  return write


@pytest.fixture(scope="session")
def saved_run(tmp_path_factory, corpus):
  """Directory of a run whose untrained network says something."""
  directory = tmp_path_factory.mktemp("saved")
  config = _tiny_config(corpus)
  tokenizer = text.build_tokenizer("character", TEXTS)
  model = experiment.make_model(config, tokenizer.vocab_size)
  kernel = model.head.kernel
  random = np.random.default_rng(0)
  kernel.assign(random.normal(size=kernel.shape))
  model.head.bias.assign(np.zeros(model.head.bias.shape))
  model.compile(optimizer="sgd")
  model.optimizer.build(model.trainable_variables)
  saved_config.save_config(str(directory), config)
  opening.save_tokenizer(str(directory), tokenizer)
  checkpoints.Checkpoints(str(directory), model).save(7)
  return directory


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
  """Folder with s-0.wav to s-3.wav, and the text of each."""
  folder = tmp_path_factory.mktemp("recordings")
  texts = {}
  for i, (utterance, waveform) in enumerate(_tones(4, seed=9)):
    path = folder / f"s-{i}.wav"
    soundfile.write(path, waveform, 16000, subtype="PCM_16")
    texts[path] = utterance.text
  return texts


@pytest.fixture
def cloud(tmp_path):
  """A stand-in for gcloud in a folder of its own."""
  yield Cloud(tmp_path)
  # Ends what still trains.
  (tmp_path / "over").touch()
