"""Damages files and kills programs, and counts what that costs.

  python -m tests.faults --minutes=10
  python -m tests.faults --target=FLAC --first=4711 --cases=1
  python -m tests.faults --kills=100

Every case has a number: the same number is the same damage. The table has a row
for each kind of file: how many cases were read in spite of their damage or
refused in one line, and what must not happen: stack traces, crashes, hangs over
10 s, more than 1 GB of memory, good utterances lost, damage read as if it were
good. Then programs are killed at random moments and must go on to the same
result, bit for bit; --kills=N does nothing else. The exit code is 1 if anything
happened that must not.
"""

import argparse
import collections
import os
import pathlib
import signal
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from launch import errors
from tests.faults import kills, targets
from tests.faults.server import Server, in_child

_GOOD = ("read", "refused")
_COUNTED = ("unnamed", "lost", "silent")
_BAD = ("trace", "crash", "hang", "over 1 GB", *_COUNTED)
_TITLES = {
  "read": "read",
  "refused": "refused in one line",
  "unnamed": "refused without the path",
  "trace": "stack traces",
  "crash": "crashes",
  "hang": "hangs over 10 s",
  "over 1 GB": "over 1 GB",
  "lost": "good utterances lost",
  "silent": "damage read as good",
}
_SHARE_OF_KILLS = 0.3
_ROUND = 10


def damage(chosen, minutes, first, cases, folder, report):
  """Tries cases of all targets in turn; a Counter for each target's name."""
  mistakes = (*errors.MISTAKES, *errors.MISFORTUNES)
  servers, counts = {}, {}
  for target in chosen:
    good = folder / f"good-{len(servers)}"
    good.mkdir()
    in_child(target.build, good)
    servers[target.name] = Server(target, good, folder / "case", mistakes)
    counts[target.name] = collections.Counter()
    whole = servers[target.name].attempt(-1)
    if whole["outcome"] != "read" or whole["lost"] or whole["silent"]:
      raise AssertionError(f"undamaged files must be read: {whole}")
  end, seed = time.monotonic() + 60 * minutes, first
  stopped = []
  # Asked to stop, it says what it has found so far.
  signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
  while time.monotonic() < end and (not cases or seed < first + cases):
    for name, server in servers.items():
      if stopped:
        return counts
      for number in range(seed, seed + min(_ROUND, cases or _ROUND)):
        found = server.attempt(number)
        count = counts[name]
        count["cases"] += 1
        count[found["outcome"]] += 1
        for what in _COUNTED:
          count[what] += found.get(what, 0)
        count["over 1 GB"] += found.get("memory", 0) > 2**30
        if found["outcome"] not in _GOOD or any(
          found.get(what) for what in _COUNTED
        ):
          report(f"--target={name!r} --first={number} --cases=1: {found}")
    seed += _ROUND
  for server in servers.values():
    server.close()
  return counts


def table(counts):
  """The counts as a Markdown table."""
  columns = [*_GOOD, *_BAD]
  total = sum(counts.values(), collections.Counter())
  lines = [
    "| file | cases | " + " | ".join(_TITLES[c] for c in columns) + " |",
    "|---|" + "--:|" * (1 + len(columns)),
  ]
  for name, count in [*counts.items(), ("all", total)]:
    cells = [count["cases"], *(count[c] for c in columns)]
    lines.append(f"| {name} | " + " | ".join(f"{c:,}" for c in cells) + " |")
  return "\n".join(lines)


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--minutes", type=float, default=10)
  parser.add_argument("--target", help="one kind of file only")
  parser.add_argument("--first", type=int, default=0, help="first case")
  parser.add_argument("--cases", type=int, default=0, help="0: as time allows")
  parser.add_argument("--kills", type=int, help="kill this often; 0: never")
  parser.add_argument("--log", help="file for what must not happen")
  given = parser.parse_args()
  chosen = [t for t in targets.TARGETS if given.target in (None, t.name)]
  if not chosen:
    parser.error(f"--target must be one of {[t.name for t in targets.TARGETS]}")
  share = 0 if given.target or given.kills == 0 else _SHARE_OF_KILLS

  def report(line):
    print(line, file=sys.stderr, flush=True)
    if given.log:
      with open(given.log, "a") as file:
        file.write(line + "\n")

  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    counts, killed = {}, {}
    if not given.kills:
      minutes = given.minutes * (1 - share)
      counts = damage(chosen, minutes, given.first, given.cases, folder, report)
      print(table(counts), flush=True)
    if share:
      minutes = given.minutes * share
      killed = kills.run(folder, minutes, given.first, report, given.kills)
      print("\n" + kills.table(killed), flush=True)
  bad = sum(count[what] for count in counts.values() for what in _BAD)
  bad += sum(count["kills"] - count["same"] for count in killed.values())
  sys.exit(int(bad > 0))


if __name__ == "__main__":
  main()
