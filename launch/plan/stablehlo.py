"""The device program of a traced step as StableHLO, what XLA compiles.

TensorFlow has two sets of lowerings here, its own and those of tf2xla for a
kind of device. A wheel without a TPU holds those for a CPU; ops that neither
has are refused. Random numbers whose algorithm the device chooses are the one
known difference; their ops are patched here.

Internals used: the names of TensorFlow's MLIR passes, those that a TPU VM runs
too, and the form of the bridge's output: a host function first, then the device
function and what it calls.
"""

import itertools
import re

import tensorflow as tf

from launch.plan import bridge

_PASSES = (
  "tf-shape-inference",
  "tf-functional-control-flow-to-regions",
  "inline",
  "tf-region-control-flow-to-functional",
  "tf-shape-inference",
  "tf-guarantee-all-funcs-one-use",
  "tf-tensor-list-ops-decomposition",
  "tf-stack-ops-decomposition",
  "tf-tensor-array-ops-decomposition",
  "tf-promote-resources-to-args",
  "symbol-dce",
  "tf-shape-inference",
  "tf-functional-control-flow-to-regions",
  "inline",
  "canonicalize",
)
# With XLA_TPU_JIT, or preferring tf2xla, a wheel of TensorFlow 2.17 aborts.
_LEGALIZE = (
  "xla-legalize-tf{legalize-chlo=true use-tf2xla-fallback=true "
  "device-type=XLA_CPU_JIT prefer-tf2xla=false},canonicalize,"
  "hlo-legalize-to-stablehlo,canonicalize"
)

# Of tf.random.Algorithm.
_THREEFRY, _AUTO_SELECT = 2, 3


def convert(module: str) -> str:
  """StableHLO of what every core runs.

  Args:
    module: str, from `launch.plan.bridge.run`.

  Returns:
    str, a module whose @main takes what `arguments` lists and returns, among
    others, the new variables; `tf.aliasing_output` says which result is which
    argument.

  Raises:
    launch.plan.bridge.Rejected: If an op has no counterpart, with its name.
  """
  text = _stand_in(_device_program(module))
  try:
    for name in (*_PASSES, _LEGALIZE):
      text = tf.mlir.experimental.run_pass_pipeline(
        text, name, show_debug_info=True
      )
  except (tf.errors.OpError, ValueError) as error:
    found = re.findall(r"error: (.*)", str(error)) or [str(error)]
    raise bridge.Rejected(
      f"XLA has no form for an op of the step. Received: {found[0]}"
    ) from error
  if left := sorted(set(re.findall(r'"(tf\.\w+)"\(', text))):
    raise bridge.Rejected(
      f"XLA has no form for some ops of the step. Received: {left}"
    )
  return text.replace("algorithm =  THREE_FRY", "algorithm =  DEFAULT")


def arguments(module: str) -> list[tuple[str, int]]:
  """What @main of `convert` takes, in order.

  Args:
    module: str, from `launch.plan.bridge.run`.

  Returns:
    list of (kind, number): ("variable", n) for the n-th captured input of the
    traced function, ("data", n) for the n-th of its other inputs, which are
    those of the first core, and ("core", 0) for the number of the core.
  """
  head, _, rest = module.partition("tf_device.replicate(")
  handles = dict(
    re.findall(
      r'(%\w+) = "tf\.VarHandleOp".*shared_name = "variable(\d+)"', head
    )
  )
  given = {
    inner: first
    for first, inner in re.findall(r"\[(%\w+)[^\]]*\] as (%\w+)", rest)
  }
  reads = dict(re.findall(r'(%\w+) = "tf\.ReadVariableOp"\((%\w+)\)', rest))
  call = _search(r'"tf_device\.cluster_func"\(([^)]*)\)', rest)
  found = []
  for name in call[1].split(", "):
    name = reads.get(name, name)
    name = given.get(name, name)
    if name in handles:
      found.append(("variable", int(handles[name])))
    elif argument := re.fullmatch(r"%arg(\d+)", name):
      found.append(("data", int(argument[1])))
    else:
      # Constants that are equal on all cores are inside the program.
      found.append(("core", 0))
  return found


def _search(pattern, text):
  """The first match, of what the bridge always writes."""
  found = re.search(pattern, text)
  if found is None:
    raise ValueError(
      f"The bridge's module must have {pattern}. Received: one that has not"
    )
  return found


def aliases(text: str) -> dict[int, int]:
  """Which result of @main is the new value of which argument; for tests.

  Args:
    text: from `convert`.

  Returns:
    dict from the argument's number to the result's.
  """
  signature = _search(r"func\.func @main\(.*", text)[0]
  found = re.findall(
    r"%arg(\d+): tensor<[^>]*> \{tf\.aliasing_output = (\d+)", signature
  )
  return {int(argument): int(result) for argument, result in found}


def _device_program(module):
  """The module without the host's function, the device's being @main."""
  name = _search(r"@(\w+)", bridge.device_function(module)[0])[1]
  intro, *functions = re.split(r"(?m)^  (?=func\.func )", module)
  kept = []
  for function in functions[1:]:
    if function.startswith(f"func.func private @{name}("):
      signature, newline, body = function.partition("\n")
      # Of the arguments' attributes only the aliasing means something to XLA.
      signature = re.sub(r" loc\((?:[^()]|\([^()]*\))*\)", "", signature)
      signature = re.sub(
        r" ?\{[^{}]*\}(?=[,)])",
        lambda match: _aliasing(match[0]),
        re.sub(r'"\{[^"]*\}"', '""', signature),
      )
      function = signature.replace(f"private @{name}(", "@main(") + newline
      function += body
    kept.append("  " + function)
  return intro + "".join(kept)


def _stand_in(text):
  """ThreeFry where the device chooses how to draw random numbers.

  A CPU's lowering chooses Philox, a TPU's XLA's default, whose state has the
  size of ThreeFry's (`DefaultRngAlgForDeviceType` and `GetCounterSize` of
  tf2xla); no CPU has a kernel for ThreeFry, so nothing else has asked for it.
  """
  functions = re.split(r"(?m)^(?=  func\.func )", text)
  return "".join(map(_stand_in_of_function, functions))


def _stand_in_of_function(text):
  constants = set(
    re.findall(
      rf'(%\w+) = "tf\.Const"\(\) <\{{value = dense<{_AUTO_SELECT}> : '
      r"tensor<i32>\}>",
      text,
    )
  )
  numbers = itertools.count()

  def chosen(match):
    draw, algorithm = match.groups()
    if algorithm not in constants:
      return match[0]
    name = f"%threefry{next(numbers)}"
    return (
      f'    {name} = "tf.Const"() <{{value = dense<{_THREEFRY}> : '
      f"tensor<i32>}}> : () -> tensor<i32>\n{draw}{name})"
    )

  draws = r'(?m)^(.* = "tf\.StatelessRandom\w+V2"\([^)]*)(%\w+)\)'
  return re.sub(draws, chosen, text)


def _aliasing(attributes):
  found = re.search(r"tf\.aliasing_output = \d+ : i64", attributes)
  return f" {{{found[0]}}}" if found else ""
