"""Seconds of each kind of op, from what TensorFlow's profiler writes.

The file is OpenXLA's XSpace, a protocol buffer. The few of its fields that are
needed are described here, since TensorFlow's API reads none of it:
https://github.com/openxla/xla/blob/main/third_party/tsl/tsl/profiler/protobuf/xplane.proto
"""

import collections
import glob
import os
import re
import tempfile
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from google.protobuf import (
  descriptor_pb2,
  descriptor_pool,
  message_factory,
)

# An op's event is called name:kind.
# oneDNN's kernels are kinds of their own, such as _MklMatMul.
_OP = re.compile(r"[^:]:(?:_Mkl)?(_?[A-Z]\w*)$")
# They last as long as the ops that they call, which have events of their own.
_CALLS = ("PartitionedCall", "StatefulPartitionedCall", "While", "If")
# Message: its fields, each a number, a type, and whether there are many.
_FIELDS = {
  "Metadata": {"name": (2, "string", False)},
  # An entry of a map.
  "Entry": {"key": (1, "int64", False), "value": (2, "Metadata", False)},
  "Event": {
    "metadata_id": (1, "int64", False),
    "duration_ps": (3, "int64", False),
  },
  "Line": {"events": (4, "Event", True)},
  "Plane": {"lines": (3, "Line", True), "event_metadata": (4, "Entry", True)},
  "Space": {"planes": (1, "Plane", True)},
}


def seconds_by_kind(work: Callable[[], Any], calls: int) -> dict[str, float]:
  """Runs the work, and adds up what its ops took.

  Args:
    work: function without arguments, which has run before.
    calls: int, how often it is run.

  Returns:
    dict from kind of op to seconds of one call, by the clock and over all
    threads that ran ops, the costliest first.
  """
  options = tf.profiler.experimental.ProfilerOptions(
    host_tracer_level=2, python_tracer_level=0
  )
  with tempfile.TemporaryDirectory() as folder:
    with tf.profiler.experimental.Profile(folder, options):
      for _ in range(calls):
        work()
    found = collections.Counter()
    pattern = os.path.join(folder, "**", "*.xplane.pb")
    for path in glob.glob(pattern, recursive=True):
      with open(path, "rb") as file:
        found += of_space(file.read())
  return {kind: s / calls for kind, s in found.most_common()}


def of_space(data: bytes) -> collections.Counter[str]:
  """Seconds of each kind of op.

  Args:
    data: an XSpace.

  Returns:
    Counter from kind to seconds.
  """
  found = collections.Counter()
  for plane in _message("Space").FromString(data).planes:
    names = {entry.key: entry.value.name for entry in plane.event_metadata}
    for line in plane.lines:
      for event in line.events:
        kind = _OP.search(names.get(event.metadata_id, ""))
        if kind and kind[1] not in _CALLS:
          found[kind[1]] += event.duration_ps * 1e-12
  return found


def _message(name) -> Any:
  """The class of a message of `_FIELDS`."""
  file = descriptor_pb2.FileDescriptorProto(
    name="xplane.proto", package="xplane", syntax="proto3"
  )
  kinds = descriptor_pb2.FieldDescriptorProto
  for message, fields in _FIELDS.items():
    described = file.message_type.add(name=message)
    for field, (number, kind, many) in fields.items():
      label = kinds.LABEL_REPEATED if many else kinds.LABEL_OPTIONAL
      added = described.field.add(name=field, number=number, label=label)
      if kind in _FIELDS:
        added.type, added.type_name = kinds.TYPE_MESSAGE, f".xplane.{kind}"
      else:
        added.type = getattr(kinds, f"TYPE_{kind.upper()}")
  pool = descriptor_pool.DescriptorPool()
  pool.Add(file)
  return message_factory.GetMessageClass(
    pool.FindMessageTypeByName(f"xplane.{name}")
  )
