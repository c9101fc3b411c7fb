"""What the guides show: commands parse, code runs, links and paths resolve."""

import configparser
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("tf_pcc", "models", "launch", "tests", "examples")
GUIDES = {
  str(path.relative_to(ROOT)): path.read_text("utf-8")
  for path in sorted(
    [
      *ROOT.glob("*.md"),
      *(found for name in FOLDERS for found in (ROOT / name).rglob("*.md")),
    ]
  )
}
README = GUIDES["README.md"]
PYTHONS = ("python", "python3", ".venv/bin/python")
# Programs of others, which need what a test has not: a daemon, a server.
FOREIGN = ("docker", "curl")
# Commands of gcloud that the guides show, with the flags of each, of those that
# its reference lists.
GCLOUD = {
  "auth login": set(),
  "services enable": {"--project"},
  "compute tpus tpu-vm accelerator-types list": {"--project", "--zone"},
  "compute tpus tpu-vm versions list": {"--project", "--zone"},
  "projects describe": {"--format"},
  "storage buckets create": {"--project", "--location"},
  "storage buckets add-iam-policy-binding": {"--member", "--role"},
  "storage rsync": {"--recursive"},
  "storage cp": {"--recursive"},
}

each_guide = pytest.mark.parametrize("guide", GUIDES)


def blocks(language, text=README):
  found = re.findall(rf"^( *)```{language}\n(.*?)```", text, re.DOTALL | re.M)
  return [re.sub(rf"^{indent}", "", code, flags=re.M) for indent, code in found]


def commands(text):
  """Lists of words: all commands of sh blocks, and those named in a line.

  A command in a line is checked too, if it is whole: no "..." is in it.
  """
  lines = [
    part
    for block in blocks("sh", text)
    for line in block.replace("\\\n", " ").splitlines()
    for part in line.split("&&")
  ]
  prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
  lines += [
    " ".join(found.replace("\\|", "|").split())
    for found in re.findall(r"`(python -m [^`]+)`", prose)
    if "..." not in found and "|" not in found
  ]
  found = [shlex.split(line, comments=True) for line in lines]
  return [words for words in found if words]


def complaints(listed):
  """What is wrong with commands; programs of `launch` check all of their flags.

  Args:
    listed: list of commands, each a list of words.

  Returns:
    list of (command, complaint).
  """
  found, requests = [], []
  for command in listed:
    name, *arguments = command
    if name in PYTHONS and arguments[1].partition(".")[0] == "launch":
      program = arguments[1].partition(".")[2] or "__main__"
      path = ROOT / "launch" / program.replace(".", "/")
      there = path.with_suffix(".py").exists() or path.is_dir()
      if not there:
        found.append((command, "no such program"))
      elif arguments[2:]:
        # Named alone, a program lacks the flags that it requires.
        end = arguments.index("--") if "--" in arguments else len(arguments)
        own, others = arguments[2:end], arguments[end:]
        checked = [*own, "--only_check_args", *others]
        requests.append((command, [{}, program, *checked]))
    elif complaint := complaint_of(name, arguments):
      found.append((command, complaint))
  done = subprocess.run(
    [sys.executable, "-m", "tests.launch.programs_main"],
    cwd=ROOT,
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    input="".join(json.dumps(request) + "\n" for _, request in requests),
    capture_output=True,
    text=True,
    check=True,
    timeout=500,
  )
  answers = [json.loads(line) for line in done.stdout.splitlines()]
  assert len(answers) == len(requests)
  for (command, _), (code, _, stderr) in zip(requests, answers):
    if code:
      found.append((command, stderr[-500:]))
  return found


def complaint_of(name, arguments):
  """What is wrong with a command that is no program of `launch`, or ""."""
  if name in PYTHONS:
    if arguments[:1] != ["-m"] or arguments[1] not in (
      *("venv", "pytest", "tests.faults", "tests.faults.soak"),
      *("tests.matrix", "tests.speed"),
      *("tests.audit.coverage", "tests.host_input", "examples.draw_rho"),
    ):
      return "no such module"
    paths = [a for a in arguments if a.startswith("tests/")]
    return "".join(f"no {p}. " for p in paths if not (ROOT / p).exists())
  if name in ("pip", ".venv/bin/pip"):
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    known = config["options.extras_require"]
    wanted = re.findall(r"\.\[(.*)\]", " ".join(arguments))
    names = [extra for group in wanted for extra in group.split(",")]
    return "".join(f"no extra {n}. " for n in names if n not in known)
  if name == "launch/tpu_vm.sh":
    done = subprocess.run(
      [ROOT / name, arguments[0], "--dry_run", *arguments[1:]],
      capture_output=True,
      text=True,
      check=False,
      timeout=60,
    )
    return done.stderr if done.returncode else ""
  if name == "gcloud":
    given = " ".join(arguments)
    known = [f for c, f in GCLOUD.items() if f"{given} ".startswith(f"{c} ")]
    used = {a.partition("=")[0] for a in arguments if a.startswith("--")}
    return "" if known and used <= known[0] else "gcloud has no such command"
  if name.startswith(".venv/bin/"):
    folder = str(pathlib.Path(sys.executable).parent)
    found = shutil.which(pathlib.Path(name).name, path=folder)
    return "" if found else "no such program"
  return "" if name in FOREIGN else "a program that nobody knows"


@pytest.fixture(scope="module")
def wrong():
  """All complaints about the commands of all guides."""
  return complaints([c for text in GUIDES.values() for c in commands(text)])


@each_guide
def test_its_commands_parse(wrong, guide):
  own = commands(GUIDES[guide])
  assert [found for found in wrong if found[0] in own] == []


def test_wrong_commands_are_found():
  listed = [
    ["python", "-m", "launch.train", "--workdir=a", "--stepz=5"],
    ["python", "-m", "launch.train", "--workdir=a", "--config.stepz=5"],
    ["python", "-m", "launch.trian", "--workdir=a"],
    ["python", "-m", "launch.benchmark", "steps"],
    ["python", "-m", "pytest", "tests/bound_test.py"],
    [".venv/bin/pip", "install", "-e", ".[speach]"],
    [".venv/bin/ruf", "check"],
    ["launch/tpu_vm.sh", "al", "--project=P", "--zone=Z"],
    ["gcloud", "storage", "rsync", "--recursiv", "a", "b"],
    ["gcloud", "services", "enabel", "tpu.googleapis.com"],
    ["sudo", "make"],
  ]
  right = ["python", "-m", "launch.train", "--workdir=a", "--config.steps=5"]
  found = [command for command, _ in complaints([*listed, right])]
  assert sorted(found) == sorted(listed)


def test_the_two_commands_are_one_line_each():
  found = [b.strip() for b in blocks("sh")][:2]
  assert all(c.startswith("python3 -m venv") for c in found)
  assert all("\n" not in c for c in found)
  assert "launch.train" in found[0] and "pytest" in found[1]


# launch/serve.md's client needs a server: serve_test.py has one.
@pytest.mark.parametrize(
  ("guide", "printed"),
  [
    ("README.md", "clip_bound"),
    ("tf_pcc/README.md", "bound: ["),
    ("CONTRIBUTING.md", ""),
  ],
)
def test_its_code_runs(tmp_path, guide, printed):
  code = "\n".join(blocks("python", GUIDES[guide]))
  done = subprocess.run(
    [sys.executable, "-c", code],
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
  assert code and done.returncode == 0, done.stderr[-2000:]
  assert printed in done.stdout


def test_no_other_guide_has_code():
  assert {name for name, text in GUIDES.items() if blocks("python", text)} == {
    *("README.md", "tf_pcc/README.md", "CONTRIBUTING.md", "launch/serve.md")
  }


def anchors(text):
  """What GitHub calls the headings of a guide."""
  prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
  headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
  return {
    re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
    for heading in headings
  }


@each_guide
def test_its_links_resolve(guide):
  broken = []
  for link in re.findall(r"\]\((?!https?:)([^)]+)\)", GUIDES[guide]):
    path, _, anchor = link.partition("#")
    target = (ROOT / guide).parent / path if path else ROOT / guide
    known = {""}
    if target.suffix == ".md" and target.exists():
      known |= anchors(target.read_text("utf-8"))
    if not target.exists() or anchor not in known:
      broken.append(link)
  assert broken == []


@each_guide
def test_the_paths_it_names_exist(guide):
  named = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w/.]+)`", GUIDES[guide])
  assert [path for path in named if not (ROOT / path).exists()] == []


def test_readme_lists_every_program():
  done = subprocess.run(
    [sys.executable, "-m", "launch"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
    timeout=60,
  )
  programs = re.findall(r"^python -m [\w.]+", done.stdout, re.MULTILINE)
  assert len(programs) > 5
  rows = README[README.index("## Programs") :]
  assert [p for p in programs if f"`{p}" not in rows] == []
  assert len(README.splitlines()) <= 170
