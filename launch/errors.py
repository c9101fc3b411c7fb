"""What programs say of an error: the mistake, or the way out, in one line."""

import errno
import re

import tensorflow as tf

# What a user's mistake raises: a value out of range, an extra that is not
# installed, a file that is not there or not to be read or written, a training
# that explodes.
MISTAKES = (
  ValueError,
  FloatingPointError,
  ImportError,
  OSError,
  tf.errors.NotFoundError,
  tf.errors.PermissionDeniedError,
  tf.errors.FailedPreconditionError,
)

# What a machine does to a program that is right, and what to do about it.
MISFORTUNES = {
  MemoryError: "memory ran out; take a smaller batch or a smaller model",
  RecursionError: (
    "something is nested too deep, such as folders in a corpus; flatten it"
  ),
  tf.errors.ResourceExhaustedError: (
    "memory or disk space ran out; take a smaller batch or a smaller model, or "
    "make room"
  ),
  tf.errors.DataLossError: (
    "a file is damaged; restore a copy of it or make it again"
  ),
  tf.errors.UnavailableError: (
    "a worker or a storage service does not answer; the same command goes on"
  ),
  tf.errors.DeadlineExceededError: (
    "a worker or a storage service is too slow; the same command goes on"
  ),
}

# What to do about a file that cannot be read or written.
_REMEDIES = {
  errno.ENOENT: "check the path, or restore a copy",
  errno.EISDIR: "a file is needed: move the folder away",
  errno.ENOTDIR: "a folder is needed: move the file away",
  errno.EEXIST: "move it away, or choose another path",
  errno.ELOOP: "a link leads nowhere: remove it",
  errno.ENAMETOOLONG: "choose a shorter path",
  errno.ENOSPC: "make room, or choose another disk",
  errno.EDQUOT: "make room within the quota, or choose another disk",
  errno.EROFS: "choose a place that can be written",
  errno.EACCES: "ask for the permission, or choose another place",
  errno.EPERM: "ask for the permission, or choose another place",
  errno.EIO: "the disk is failing: copy what is on it, and choose another",
}


# What TensorFlow puts around its words: nodes, their devices, the op.
_NODES = re.compile(r"\{\{[^{}]*\}\} ?| ?\[Op:\w*\]( name: ?)?")


def misfortune(error: BaseException) -> str:
  """What happened to a program, and the way out, in one line.

  Args:
    error: of one of the classes in `MISFORTUNES`.

  Returns:
    The remedy of its class, then the error's own words.
  """
  [remedy] = [r for kind, r in MISFORTUNES.items() if isinstance(error, kind)]
  words = one_line(error)
  return f"{remedy}. Received: {type(error).__name__}{words and ': '}{words}"


def no_file_system(said: str) -> str:
  """What to do about a path whose scheme TensorFlow lacks.

  Args:
    said: TensorFlow's message.

  Returns:
    One sentence, or "" if it is about something else.
  """
  found = re.search(r"File system scheme '(\w*)' not impl.*file: '(.*)'", said)
  if not found:
    return ""
  if found[1] == "gs":
    # TensorFlow's own extra, for machines whose wheel leaves it out.
    remedy = "pip install 'tensorflow[gcs-filesystem]', or use a local path"
  else:
    remedy = "use gs:// or a local path"
  return (
    f"{found[1]}:// needs a file system that this TensorFlow lacks: {remedy}. "
    f"Received: {found[2]}"
  )


def root(error: BaseException) -> BaseException:
  """The first of the errors that led to this one.

  Args:
    error: an exception.

  Returns:
    The exception it began with; `error` itself where there is no other.
  """
  while error.__context__ is not None:
    error = error.__context__
  return error


def _text(error):
  """An error's message; that of a KeyError is quoted and escaped by `str`."""
  while len(error.args) == 1 and isinstance(error.args[0], BaseException):
    error = error.args[0]
  if isinstance(error, KeyError) and len(error.args) == 1:
    return str(error.args[0])
  if isinstance(error, OSError) and error.errno and error.filename:
    what = [error.strerror, *filter(None, [_REMEDIES.get(error.errno)])]
    return f"{error.filename}: {'; '.join(what)}"
  return str(error)


def one_line(error: BaseException) -> str:
  """An error's message, without line breaks and traces.

  Args:
    error: an exception.

  Returns:
    Its message on one line.
  """
  # Keras and tf.function spread theirs over many lines; ml_collections puts the
  # trace of a config's file in the message.
  text, trace, _ = _text(error).partition("Traceback (most recent call last)")
  text = _NODES.sub("", f"{text} {_text(root(error)) if trace else ''}")
  return " ".join(text.split())
