"""The core suite on pairs of Python and TensorFlow, and a table of how it went.

  python -m tests.matrix                       # all pairs that can be installed
  python -m tests.matrix --pairs 3.11:2.17.1 3.13:2.21.0
  python -m tests.matrix --oldest              # the oldest TensorFlow
  python -m tests.matrix --suite tests         # the whole default suite instead

Each pair gets a virtual environment in --folder, made by pip from setup.cfg and
used again if it is there; --remove deletes it when its tests have run. What
pytest printed last is printed, and all of it where a test failed. Exit code 1:
a test failed, or tensorflow-io's native library does not load where it must.
Without a Python that has the oldest TensorFlow, --oldest says so and ends with
code 0.
"""

import argparse
import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree

from tf_pcc import compatibility

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Newest patches. tensorflow-text has no wheel of 2.17 for Python 3.12, and
# TensorFlow has none before 2.20 for 3.13.
TENSORFLOWS = ("2.17.1", "2.18.1", "2.19.1", "2.20.0", "2.21.0")
OLDEST = {
  "3.10": "2.17.1",
  "3.11": "2.17.1",
  "3.12": "2.18.1",
  "3.13": "2.20.0",
}
# The core suite: clipping, bounds, both APIs, saving, models, audio with
# tensorflow-io, records, training, and steps traced for TPUs, run on the CPU.
CORE = (
  "tests/bounds_test.py",
  "tests/clipping_test.py",
  "tests/clipper_test.py",
  "tests/compatibility_test.py",
  "tests/data/audio_test.py",
  "tests/data/records_test.py",
  "tests/data/tokenizers_test.py",
  "tests/edge_cases_test.py",
  "tests/extras_test.py",
  "tests/launch/gs_test.py",
  "tests/launch/plan/copies_test.py",
  "tests/launch/plan/tracing_test.py",
  "tests/launch/train_test.py",
  "tests/microbatches_test.py",
  "tests/models/families_test.py",
  "tests/monitoring_test.py",
  "tests/optimizer_refusals_test.py",
  "tests/optimizer_test.py",
  "tests/saving_test.py",
  "tests/training_test.py",
)
_VERSIONS = """
import importlib.metadata as metadata, sys
from tf_pcc.data import audio
names = ("tensorflow", "keras", "numpy")
print(*map(metadata.version, names), audio.tensorflow_io() is not None)
"""
COLUMNS = ("Python", "TensorFlow", "Keras", "NumPy", "tensorflow-io") + (
  "passed",
  "failed",
  "skipped",
)


def pairs():
  """All supported pairs, oldest first: list of (Python, TensorFlow)."""
  return [
    (python, version)
    for python, oldest in OLDEST.items()
    for version in TENSORFLOWS[TENSORFLOWS.index(oldest) :]
  ]


def interpreter(python):
  """The path of an interpreter, "3.11" for example, or None."""
  homes = sorted(pathlib.Path.home().glob(f".pyenv/versions/{python}.*"))
  places = [home / "bin" / f"python{python}" for home in reversed(homes)]
  places += [sys.executable, shutil.which(f"python{python}")]
  for place in filter(None, places):
    done = subprocess.run(
      [place, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
      capture_output=True,
      text=True,
      check=False,
    )
    # A shim of pyenv is there for versions that are not chosen.
    if done.stdout.strip() == python:
      return str(place)
  return None


def environment(python, tensorflow, folder):
  """Makes a pair's virtual environment, or finds one of this setup.cfg.

  Args:
    python: "3.11", for example.
    tensorflow: "2.17.1", for example.
    folder: where the environments are.

  Returns:
    Path of its Python.

  Raises:
    ValueError: if the interpreter is not there or pip cannot install the pair.
  """
  home = pathlib.Path(folder).absolute() / f"python{python}-tf{tensorflow}"
  ready = home / "ready"
  wanted = (ROOT / "setup.cfg").read_text("utf-8")
  if not ready.exists() or ready.read_text("utf-8") != wanted:
    base = interpreter(python)
    if base is None:
      raise ValueError(f"python{python} is not installed")
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([base, "-m", "venv", home], check=True)
    done = subprocess.run(
      [home / "bin" / "python", "-m", "pip", "install", "-q"]
      + [f"tensorflow=={tensorflow}", "-e", f"{ROOT}[all,espeak,dev]"],
      capture_output=True,
      text=True,
      check=False,
    )
    if done.returncode:
      raise ValueError(f"pip: {done.stderr.strip()[-500:]}")
    ready.write_text(wanted, "utf-8")
  return home / "bin" / "python"


def run(executable, suite, processes, folder):
  """Runs tests in an environment.

  Args:
    executable: path of its Python.
    suite: files and folders of tests.
    processes: int, as pytest-xdist's -n.
    folder: where pytest's report and log are written.

  Returns:
    A row of the table without Python's version, list of str; and the names of
    failures and reasons of skips, list of str.
  """
  found = subprocess.run(
    [executable, "-c", _VERSIONS],
    cwd=ROOT,
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    capture_output=True,
    text=True,
    check=True,
  ).stdout.split()
  report = pathlib.Path(folder) / "report.xml"
  report.unlink(missing_ok=True)
  with open(report.with_suffix(".log"), "w") as log:
    subprocess.run(
      [executable, "-m", "pytest", "-n", str(processes), "-ra"]
      + [f"--junitxml={report}", *suite],
      cwd=ROOT,
      stdout=log,
      stderr=subprocess.STDOUT,
      check=False,
    )
  if not report.exists():
    raise ValueError(f"the tests did not end: {report.with_suffix('.log')}")
  cases = list(xml.etree.ElementTree.parse(report).getroot().iter("testcase"))
  failed, skipped = [], collections.Counter()
  for case in cases:
    name = f"{case.get('classname')}::{case.get('name')}"
    if case.find("failure") is not None or case.find("error") is not None:
      failed.append(f"failed: {name}")
    elif case.find("skipped") is not None:
      skipped[case.find("skipped").get("message")] += 1
  passed = len(cases) - len(failed) - skipped.total()
  native = found.pop() == "True"
  if found[0].startswith("2.17.") and not native:
    failed.append("failed: tensorflow-io's native library does not load")
  row = [*found, "native" if native else "none"]
  counts = [str(n) for n in (passed, len(failed), skipped.total())]
  reasons = [f"{n} skipped: {why}" for why, n in skipped.items()]
  return row + counts, failed + reasons


def last_line(log):
  """What pytest closed with, "3 passed in 1.2s"; TensorFlow may speak later."""
  lines = pathlib.Path(log).read_text("utf-8").rstrip().split("\n")
  closing = [line for line in lines if re.search(r"^[=\d].* in [\d.]+s", line)]
  return (closing or lines)[-1]


def table(rows):
  """Rows of str as a table in Markdown."""
  lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main():
  """Runs the pairs one after another. Exit code 1: one of them failed."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--pairs", nargs="+", metavar="PYTHON:TENSORFLOW")
  parser.add_argument("--oldest", action="store_true")
  parser.add_argument("--suite", nargs="+", default=CORE)
  parser.add_argument("--folder", default=str(ROOT / ".matrix"))
  parser.add_argument("--processes", type=int, default=2)
  parser.add_argument("--remove", action="store_true")
  chosen = parser.parse_args()
  wanted = [tuple(pair.split(":")) for pair in chosen.pairs or ()] or pairs()
  if chosen.oldest:
    wanted = [pair for pair in wanted if pair[1] == TENSORFLOWS[0]]
  there = {python for python, _ in wanted if interpreter(python)}
  found = [pair for pair in wanted if pair[0] in there]
  if chosen.oldest and not found:
    names = " or ".join(python for python, _ in wanted)
    print(f"TensorFlow {TENSORFLOWS[0]} skipped: no Python {names} here")
    return 0
  wanted = found[:1] if chosen.oldest else found
  if not wanted:
    sys.exit(f"{compatibility.supported()} Received: none of them here")
  rows, bad = [], False
  for python, tensorflow in wanted:
    home = pathlib.Path(chosen.folder) / f"python{python}-tf{tensorflow}"
    try:
      executable = environment(python, tensorflow, chosen.folder)
      row, remarks = run(executable, chosen.suite, chosen.processes, home)
    except ValueError as error:
      row, remarks = [tensorflow, *[""] * 4, f"{error}", ""], ["failed"]
    rows.append([python, *row])
    print(f"Python {python}, TensorFlow {tensorflow}", *remarks, sep="\n  ")
    # Whoever stops the rest has this one.
    print(table(rows[-1:]).rpartition("\n")[2], flush=True)
    failed = any(line.startswith("failed") for line in remarks)
    bad = bad or failed
    log = home / "report.log"
    if log.exists():
      print(log.read_text("utf-8") if failed else last_line(log))
    if chosen.remove:
      shutil.rmtree(home, ignore_errors=True)
  print(table(rows), flush=True)
  return int(bad)


if __name__ == "__main__":
  sys.exit(main())
