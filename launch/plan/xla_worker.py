"""XLA's work: compiles StableHLO for TPUs, or runs it on CPU devices.

Runs in the environment that `launch.plan.environment` makes, where JAX is and
TensorFlow is not: of this package only the file writer is loaded, by its path,
which needs NumPy alone. Files carry what goes in and out:

  python -I xla_worker.py compile PROGRAM.mlir v5e:2x4 EFFORT RESULT.json
  python -I xla_worker.py run PROGRAM.mlir CORES ARGUMENTS.npz RESULT.npz

EFFORT: from -1, the quickest compilation, to 1; 0 is XLA's own. RESULT.json:
"devices", "chip", "peak_memory" of this process in bytes and its
"cpu_seconds"; either "memory" (bytes), "flops", "bytes" and "hlo", the file of
the compiled program, or "error". It is written last.

Internals used, of the JAX that `environment.PACKAGES` names:
`jax._src.compiler.get_compile_options`, `jax._src.interpreters.mlir`,
`jax._src.lib.xla_client.DeviceList`, and the client's compile and execute.
"""

import importlib
import os
import pathlib
import re
import resource
import sys
import types
from collections.abc import Sequence
from typing import Any

os.environ.update(
  JAX_PLATFORMS="cpu",
  # No TPU VM's metadata server is asked, and one host stands for all.
  TPU_SKIP_MDS_QUERY="1",
  TPU_WORKER_HOSTNAMES="localhost",
  TPU_WORKER_ID="0",
  # Its lock is for a chip; here two may compile at a time.
  ALLOW_MULTIPLE_LIBTPU_LOAD="1",
)
if sys.argv[1:2] == ["run"]:
  os.environ["XLA_FLAGS"] = (
    f"--xla_force_host_platform_device_count={sys.argv[3]}"
  )

import jax
import numpy as np
from jax._src import compiler
from jax._src.interpreters import mlir
from jax._src.lib import xla_client
from jax._src.lib.mlir import ir
from jax.experimental import topologies

# The package without its __init__, which imports TensorFlow.
_PACKAGE = types.ModuleType("tf_pcc")
_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PACKAGE.__path__ = [str(_ROOT / "tf_pcc")]
sys.modules["tf_pcc"] = _PACKAGE
files = importlib.import_module("tf_pcc.files")

jax.config.update("jax_enable_x64", True)


def load(path: str | os.PathLike) -> tuple[ir.Context, ir.Module]:
  """Reads a program, without `mhlo.copy`, which XLA does not import.

  Args:
    path: file of MLIR.

  Returns:
    (context, module).
  """
  context = mlir.make_ir_context()
  with context, open(path) as file:
    module = ir.Module.parse(_unpacked(file.read()))
  copies = []

  def visit(op):
    for region in op.regions:
      for block in region:
        for inner in block:
          visit(inner.operation)
          if inner.operation.name == "mhlo.copy":
            copies.append(inner.operation)

  visit(module.operation)
  for copy in copies:
    copy.results[0].replace_all_uses_with(copy.operands[0])
    copy.erase()
  return context, module


def _unpacked(text):
  """Constants of booleans with a byte each, where TensorFlow's have a bit."""

  def bytes_of(match):
    size = np.prod([int(d) for d in match[2].split("x") if d], dtype=int)
    packed = np.frombuffer(bytes.fromhex(match[1]), np.uint8)
    each = np.unpackbits(packed, count=size, bitorder="little")
    return f'dense<"0x{each.tobytes().hex().upper()}"> : tensor<{match[2]}i1>'

  return re.sub(
    r'dense<"0x([0-9A-F]+)"> : tensor<((?:\d+x)*)i1>', bytes_of, text
  )


def options(devices: Sequence[Any], backend: Any) -> xla_client.CompileOptions:
  """Compile options of one program that runs on all devices.

  Args:
    devices: a replica each.
    backend: client of XLA.

  Returns:
    `xla_client.CompileOptions`.
  """
  made = compiler.get_compile_options(
    num_replicas=len(devices),
    num_partitions=1,
    device_assignment=np.array(devices).reshape(-1, 1),
    backend=backend,
  )
  made.executable_build_options.use_spmd_partitioning = False
  return made


def compile_for_tpu(
  program: str, topology: str, effort: str, result: str
) -> None:
  """Compiles a program for a slice and writes what the compiler says of it.

  Args:
    program: file of MLIR.
    topology: name of the slice, as libtpu takes it.
    effort: number in [-1, 1], as text: how hard XLA tries to make it fast.
    result: JSON file to write.
  """
  jax.config.update("jax_exec_time_optimization_effort", float(effort))
  found = {}
  try:
    # A host of one chip, where libtpu takes four for granted.
    bounds = {"chips_per_host_bounds": (1, 1, 1)}
    described = topologies.get_topology_desc(
      platform="tpu",
      topology_name=topology,
      **(bounds if topology.endswith(":1x1") else {}),
    )
    devices = list(described.devices)
    found |= {"devices": len(devices), "chip": devices[0].device_kind}
    context, module = load(program)
    with context:
      executable = devices[0].client.compile(
        module,
        executable_devices=xla_client.DeviceList(tuple(devices)),
        compile_options=options(devices, None),
      )
    memory = executable.get_compiled_memory_stats()
    cost = executable.cost_analysis()
    cost = cost[0] if isinstance(cost, list) else cost
    hlo = f"{result}.hlo"
    modules = executable.hlo_modules()
    files.write_text(hlo, "".join(part.to_string() for part in modules))
    found |= {
      "memory": {
        name.removesuffix("_size_in_bytes"): getattr(memory, name)
        for name in dir(memory)
        if name.endswith("_size_in_bytes") and not name.startswith("host")
      },
      "flops": cost.get("flops"),
      "bytes": cost.get("bytes accessed"),
      "hlo": hlo,
    }
  except Exception as error:
    found["error"] = str(error)
  used = resource.getrusage(resource.RUSAGE_SELF)
  found["peak_memory"] = used.ru_maxrss * 2**10
  found["cpu_seconds"] = used.ru_utime + used.ru_stime
  files.write_json(result, found)


def run_on_cpu(program: str, cores: int, arguments: str, result: str) -> None:
  """Runs a program on CPU devices, one for each core.

  Args:
    program: file of MLIR.
    cores: number of devices.
    arguments: .npz file of arrays; the first axis of each is that of the cores.
    result: .npz file to write, of the same form.
  """
  devices = jax.devices("cpu")[:cores]
  client = devices[0].client
  context, module = load(program)
  with context:
    executable = client.compile_and_load(
      module,
      executable_devices=xla_client.DeviceList(tuple(devices)),
      compile_options=options(devices, client),
    )
  sharding = jax.sharding.NamedSharding(
    jax.sharding.Mesh(np.array(devices), ("core",)),
    jax.sharding.PartitionSpec(),
  )
  with np.load(arguments) as held:
    values = [held[f"arr_{i}"] for i in range(len(held.files))]
  outputs = executable.execute_sharded(
    [
      jax.make_array_from_single_device_arrays(
        each.shape[1:],
        sharding,
        [jax.device_put(v, d) for v, d in zip(each, devices)],
      )
      for each in values
    ]
  ).disassemble_into_single_device_arrays()
  # Through an open file: given a name, NumPy appends .npz to it.
  with files.replacing(result) as temporary, open(temporary, "wb") as file:
    np.savez(file, *[np.stack([np.asarray(a) for a in o]) for o in outputs])


if __name__ == "__main__":
  if sys.argv[1] == "compile":
    compile_for_tpu(*sys.argv[2:])
  else:
    run_on_cpu(sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
