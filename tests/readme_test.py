"""What README.md shows runs as it stands there."""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
  return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_first_example_runs(tmp_path):
  done = subprocess.run(
    [sys.executable, "-c", blocks("python")[0]],
    cwd=tmp_path,
    env={
      **os.environ,
      "PYTHONPATH": str(ROOT),
      "TF_CPP_MIN_LOG_LEVEL": "3",
    },
    capture_output=True,
    text=True,
    check=False,
    timeout=200,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  assert "clip_bound" in done.stdout


def test_the_two_commands_are_one_line_each():
  commands = [b.strip() for b in blocks("sh")][:2]
  assert all(c.startswith("python3.11 -m venv") for c in commands)
  assert all("\n" not in c for c in commands)
  assert "launch.train" in commands[0] and "pytest" in commands[1]


def test_files_it_links_to_exist():
  links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
  assert links
  assert [link for link in links if not (ROOT / link).exists()] == []
