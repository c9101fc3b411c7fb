"""Runs a benchmark by its name.

  python -m launch.benchmark step --json=step.json
  python -m launch.benchmark ctc --help

step        a training step with each clipping method
ctc         CTC losses: this package's and TensorFlow's
transducer  transducer losses: plain, fused and pruned
streaming   a streaming recogniser, chunk after chunk
attention   a training step with this package's attention and the formula's
index       opening records of many utterances, and resuming at any step
input       what a host reads a second, from a disk or from gs://
peers       this package and others that do the same
roofline    a step's rate beside the machine's, and its costliest ops
"""

import runpy
import sys

NAMES = (
  "step",
  "ctc",
  "transducer",
  "streaming",
  "attention",
  "index",
  "input",
  "peers",
  "roofline",
)


def main() -> None:
  name = sys.argv[1] if len(sys.argv) > 1 else ""
  if name in ("", "-h", "--help"):
    print((__doc__ or "").strip())
    # As the programs end after their help.
    sys.exit(1 if name else 0)
  if name not in NAMES:
    sys.exit(
      "launch.benchmark: the first argument must be one of "
      f"{', '.join(NAMES)}. Received: {name}"
    )
  del sys.argv[1]
  runpy.run_module(
    f"launch.benchmark.{name}_cost", run_name="__main__", alter_sys=True
  )


if __name__ == "__main__":
  main()
