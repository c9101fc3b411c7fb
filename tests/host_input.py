"""How fast hosts that one program drives read gs://, on this machine.

  python -m tests.host_input --latency_ms=30 --hosts=2 --batch=64

Each host is a process of its own: the program, and servers of TensorFlow. They
read their rows of each step with TensorFlow's own gs:// file system from the
stand-in of the storage service in `tests/buckets.py`, which answers after
--latency_ms. All of them share this machine's cores. Printed are the utterances
a second of each host, and the bytes that the storage sent for one.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from concurrent import futures

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Utterances of 12 s; steps that are not timed, and that are: many, as some are
# read ahead.
_MADE, _SECONDS, _WARM, _TIMED = 512, 12.0, 8, 40
# TensorFlow reads at least this much, 64 MB by default.
_BLOCK = {"GCS_READ_CACHE_BLOCK_SIZE_MB": "1"}


def host(spec, task):
  """A host without a program of its own: runs what is placed on it."""
  import tensorflow as tf

  tf.distribute.Server(
    {"worker": spec}, job_name="worker", task_index=task
  ).join()


def program(spec, batch):
  """The program: reads the rows of each host there, all at the same time."""
  import tensorflow as tf

  from tf_pcc.data import batching, records, text

  tf.config.experimental_connect_to_cluster(
    tf.train.ClusterSpec({"worker": spec}), job_name="worker", task_index=0
  )
  hosts = len(spec)
  batches = batching.Batches(
    records.Records("gs://bucket/records"),
    text.CharacterTokenizer("ABC"),
    batch * hosts,
  )
  feeds = []
  for task in range(hosts):
    with tf.device(f"/job:worker/task:{task}/device:CPU:0"):
      steps = batches.dataset(0, None, hosts, task, on_host=True)
      feeds.append(iter(steps))

  def take(feed, count):
    for _ in range(count):
      # What is placed elsewhere is only asked for by next().
      next(feed)[0]["audio_length"].numpy()

  with futures.ThreadPoolExecutor(hosts) as threads:
    list(threads.map(lambda feed: take(feed, _WARM), feeds))
    start = time.monotonic()
    list(threads.map(lambda feed: take(feed, _TIMED), feeds))
    seconds = time.monotonic() - start
  print(json.dumps(batch * _TIMED / seconds), flush=True)
  os._exit(0)  # Servers that are killed would be waited for.


def main():
  """Starts the storage, the hosts and the program."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--latency_ms", type=float, default=30.0)
  parser.add_argument("--hosts", type=int, default=2)
  parser.add_argument("--batch", type=int, default=64, help="Of each host.")
  chosen = parser.parse_args()
  from launch.benchmark import input_cost
  from tests import buckets
  from tests.workers import free_ports

  sent = []

  class Slow(buckets.Handler):
    """Answers late, and counts."""

    def _answer(self, code, data=b"", headers=()):
      sent.append(len(data))
      time.sleep(chosen.latency_ms / 1000)
      super()._answer(code, data, headers)

  spec = [f"127.0.0.1:{port}" for port in free_ports(chosen.hosts)]
  with tempfile.TemporaryDirectory() as folder:
    input_cost.make(f"{folder}/records", _SECONDS, _MADE, shards=4)
    with buckets.serving(folder, Slow) as server:
      for path in pathlib.Path(folder, "records").iterdir():
        server.put(f"bucket/records/{path.name}", path.read_bytes())
      environment = {**os.environ, **server.environment(), **_BLOCK}
      # The hosts reach each other without the storage's proxy.
      environment |= {"no_proxy": "127.0.0.1", "TF_CPP_MIN_LOG_LEVEL": "3"}

      def start(call, **options):
        code = f"from tests import host_input as h; h.{call}"
        command = [sys.executable, "-c", code]
        return subprocess.Popen(command, cwd=ROOT, env=environment, **options)

      others = [start(f"host({spec}, {i})") for i in range(1, chosen.hosts)]
      try:
        answer = start(
          f"program({spec}, {chosen.batch})", stdout=subprocess.PIPE, text=True
        ).communicate(timeout=600)[0]
      finally:
        for other in others:
          other.kill()
  rate = json.loads(answer.splitlines()[-1])
  size = 2 * round(_SECONDS * 16000)
  large = [count for count in sent if count > size]
  print(f"{rate:.0f} utterances a second on each of {chosen.hosts} hosts")
  print(f"{np.mean(large) / size:.2f} times its bytes for an utterance")


if __name__ == "__main__":
  main()
