"""What all programs share: flags of one meaning, and how they end.

A flag is defined by the first program that asks for it, so that two programs
can be imported in one process.
"""

import functools
import logging as python_logging
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import tensorflow as tf
from absl import app, flags, logging
from ml_collections import config_dict, config_flags

from launch import errors
from tf_pcc import files
from tf_pcc.data import shards

Value = TypeVar("Value")

_DESK = os.path.join(
  os.path.dirname(os.path.abspath(__file__)), "configs", "desk.py"
)


@functools.cache
def config_flag() -> flags.FlagHolder[config_dict.ConfigDict]:
  """--config=FILE and --config.field=value; the desk experiment by default."""
  try:
    return config_flags.DEFINE_config_file("config", _DESK, lock_config=True)
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    # ml_collections reads the overrides of the default file here already.
    sys.exit(f"{_program()}: {_unknown_field(error)}")


@functools.cache
def workdir_flag() -> flags.FlagHolder[str | None]:
  """--workdir=DIR."""
  return flags.DEFINE_string("workdir", None, "Directory of a training run.")


@functools.cache
def json_flag() -> flags.FlagHolder[str | None]:
  """--json=FILE."""
  return flags.DEFINE_string("json", None, "File to write the figures to.")


@functools.cache
def batch_flag() -> flags.FlagHolder[int]:
  """--batch=ROWS."""
  return flags.DEFINE_integer(
    "batch", 32, "Utterances of a batch.", lower_bound=1
  )


@functools.cache
def step_flag() -> flags.FlagHolder[int | None]:
  """--step=STEP."""
  return flags.DEFINE_integer(
    "step", None, "Which checkpoint to take; default: the newest."
  )


@functools.cache
def saved_model_flag() -> flags.FlagHolder[str | None]:
  """--saved_model=DIR."""
  return flags.DEFINE_string(
    "saved_model", None, "Directory of a SavedModel to use instead of a run."
  )


@functools.cache
def verify_flag() -> flags.FlagHolder[bool]:
  """--verify."""
  return flags.DEFINE_bool(
    "verify",
    False,
    "Whether to read all records first and compare them with their index.",
  )


@functools.cache
def overwrite_flag() -> flags.FlagHolder[bool]:
  """--overwrite."""
  return flags.DEFINE_bool(
    "overwrite", False, "Whether to replace an earlier report or export."
  )


@functools.cache
def max_missing_share_flag() -> flags.FlagHolder[float]:
  """--max_missing_share of the programs that read a corpus."""
  return flags.DEFINE_float(
    "max_missing_share",
    0.05,
    "Stop if a larger share lacks its audio or its transcript.",
    lower_bound=0,
    upper_bound=1,
  )


@functools.cache
def allow_outside_flag() -> flags.FlagHolder[bool]:
  """--allow_outside."""
  return flags.DEFINE_bool(
    "allow_outside",
    False,
    "Whether `..` and links may lead out of the folder of a corpus.",
  )


@functools.cache
def keep_empty_flag() -> flags.FlagHolder[bool]:
  """--keep_empty."""
  return flags.DEFINE_bool(
    "keep_empty",
    False,
    "Whether to keep utterances with an empty transcript: silence or noise, "
    "where a recogniser should write nothing.",
  )


@functools.cache
def normalizer_flag() -> flags.FlagHolder[str | None]:
  """--normalizer=NAME, of the programs that have no config."""
  return flags.DEFINE_string(
    "normalizer",
    None,
    "What transcripts go through: upper, lower, basic, none or MODULE:FUNCTION "
    "(see tf_pcc.data.normalizers); default: the run's where there is one, "
    "else upper.",
  )


# Besides, ml_collections raises the last three on a field that it does not know
# or of another type.
_FLAG_MISTAKES = (
  *errors.MISTAKES,
  flags.Error,
  AttributeError,
  KeyError,
  TypeError,
)


_HELP = {"-h", "-?", "-help", "--help", "-helpshort", "--helpshort"}


def run(
  program: str,
  main: Callable[[list[str]], None],
  required: Sequence[str] = (),
  verbosity: int = logging.INFO,
) -> None:
  """Runs a program; a user's mistake becomes one line and exit code 1.

  Args:
    program: its name, for messages.
    main: function of the arguments that are not flags; a ValueError, and a file
      that cannot be read or written, is a user's mistake.
    required: names of flags that must be given.
    verbosity: of absl's log, unless --verbosity is given. What TensorFlow's
      Python code logs below a warning is shown with --verbosity=1 only.
  """

  def end(error):
    logging.debug("", exc_info=error)
    sys.exit(f"{program}: {errors.one_line(error)}")

  def parse(argv):
    if _HELP & set(argv[1:]):
      print(own_help(required))
      # As absl ends after all its kinds of help.
      sys.exit(1)
    try:
      for path in _config_files(argv):
        files.require_regular(path)
      arguments = flags.FLAGS(argv)
      if logging.level_debug():
        tf.get_logger().setLevel("INFO")
      return arguments
    except (AttributeError, KeyError) as error:
      if not isinstance(errors.root(error), (AttributeError, KeyError)):
        raise
      return sys.exit(f"{program}: {_unknown_field(error)}")
    except _FLAG_MISTAKES as error:
      if not isinstance(errors.root(error), _FLAG_MISTAKES):
        # A fault in the config's own code: its author needs the trace.
        raise
      return end(error)

  def guarded(argv):
    try:
      with shards.damage_named():
        return main(argv[1:])
    except errors.MISTAKES as error:
      end(error)
    except tf.errors.UnimplementedError as error:
      lacking = errors.no_file_system(str(error))
      if not lacking:
        raise
      logging.debug("", exc_info=error)
      sys.exit(f"{program}: {lacking}")
    except tuple(errors.MISFORTUNES) as error:
      logging.debug("", exc_info=error)
      sys.exit(f"{program}: {errors.misfortune(error)}")
    except KeyboardInterrupt:
      print(f"{program}: stopped", file=sys.stderr)
      sys.exit(130)

  logging.set_verbosity(verbosity)
  # TensorFlow names every all-reduce it builds.
  tf.get_logger().setLevel("WARNING")
  logging.get_absl_handler().addFilter(_of_interest)
  flags.mark_flags_as_required(required)
  app.run(guarded, flags_parser=parse)


def _config_files(argv):
  """The paths that --config is given, before ml_collections runs them."""
  for argument, following in zip(argv, [*argv[1:], ""]):
    name, given_, value = argument.lstrip("-").partition("=")
    if argument.startswith("-") and name == "config":
      # What follows a colon is an argument of the config.
      yield (value if given_ else following).partition(":")[0]


_TENSORFLOW = str(pathlib.Path(tf.__file__).parent)


def _of_interest(record):
  """Whether a record is for users: not how long TensorFlow took to save."""
  return (
    record.levelno >= python_logging.WARNING
    or logging.level_debug()
    or not record.pathname.startswith(_TENSORFLOW)
  )


def own_help(required: Sequence[str] = ()) -> str:
  """The running program's docstring, then its flags with their defaults.

  absl's --help shows the flags that the main module defines itself; most of
  ours are shared and defined in other modules of `launch`.

  Args:
    required: names of flags that must be given.

  Returns:
    str, many lines.
  """
  main = sys.modules["__main__"]
  modules = flags.FLAGS.flags_by_module_dict()
  own = [
    name
    for name in modules
    if name == sys.argv[0]
    or name.partition(".")[0] in ("__main__", "launch", "ml_collections")
  ]
  lines = [
    line
    for name in own
    for line in flags.FLAGS.module_help(name).splitlines()
    # Not the modules' names, which stand at the margin.
    if line.startswith(" ")
  ]
  listed = " and ".join(f"--{name}" for name in required)
  needed = f", of which {listed} must be given" if required else ""
  remarks = ["--verbosity=1 shows what TensorFlow logs, too."]
  if "config" in flags.FLAGS:
    remarks.append("launch/configs/base.py explains the fields of --config.")
  remarks.append("--helpfull shows the flags of all libraries.")
  title = (main.__doc__ or "").strip()
  return "\n".join([title, "", f"Flags{needed}:", *lines, "", *remarks])


def _program():
  """The running program's name before `run` is given it, launch.NAME."""
  spec = sys.modules["__main__"].__spec__
  return spec.name.removesuffix(".__main__") if spec else sys.argv[0]


def _unknown_field(error):
  return (
    "--config.FIELD=VALUE must name a field of the config, with a value of its "
    "type; launch/configs/base.py explains them. Received: "
    f"{errors.one_line(error)}"
  )


def given(flag: flags.FlagHolder[Value | None]) -> Value:
  """The value of a flag that `run` requires.

  Args:
    flag: what defined it.

  Returns:
    Its value.

  Raises:
    ValueError: If it has none, or an empty one.
  """
  # An empty one is a variable that the shell does not know: not this folder.
  if flag.value is None or flag.value == "":
    raise ValueError(
      f"--{flag.name} must be given. Received: {flag.name}={flag.value!r}"
    )
  return flag.value


def no_arguments(arguments: Sequence[str]) -> None:
  """Refuses arguments that are not flags.

  Args:
    arguments: what absl gives a program besides its flags.

  Raises:
    ValueError: If there is one.
  """
  if arguments:
    raise ValueError(
      "there must be no arguments but flags, --name=value. "
      f"Received: {' '.join(arguments)}"
    )
