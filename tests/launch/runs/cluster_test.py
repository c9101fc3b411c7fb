"""Where the cores are, and what is said when they are not there."""

import concurrent.futures
import http.server
import threading
import time

import grpc
import pytest
import tensorflow as tf

from launch.plan import tracing
from launch.runs import cluster


def test_cores_of_this_machine(run_program, write_config, tmp_path):
  """--cores is stronger than the config's, which is for its absence."""
  for flags, cores in (([], 2), (["--cores=3"], 3), (["--cores=1"], 1)):
    # Stopped by the corpus, after the cluster was made.
    done = run_program(
      "train",
      write_config(data={"train": "/nowhere"}, batch=6),
      f"--workdir={tmp_path}",
      *flags,
    )
    assert "/nowhere" in done.complaint
    assert f"Strategy, {cores} cores" in done.stderr


def test_logical_cores_are_replicas():
  for count in (1, 2, 8):
    strategy = cluster.logical_cores(count)
    assert strategy.num_replicas_in_sync == count
    assert cluster.is_chief(strategy)
    assert cluster.gather(strategy, 5) == [5]
  four = cluster.logical_cores(4)
  each = four.run(
    lambda: tf.distribute.get_replica_context().replica_id_in_sync_group
  )
  assert sorted(map(int, four.experimental_local_results(each))) == [0, 1, 2, 3]


def test_device_table():
  assert cluster.device_table(cluster.logical_cores(2)) == (
    "  localhost 0: 2 x CPU:0, CPU:1"
  )
  tpu = tracing.tpu_strategy(4)
  assert cluster.device_table(tpu).count("CPU:") == 4


@pytest.mark.parametrize(
  ("name", "reason"),
  [
    ("local", "no TPU device"),
    ("grpc://127.0.0.1:9", "127.0.0.1:9 does not answer"),
    # Reserved for documentation: nobody answers, nobody refuses.
    ("grpc://192.0.2.1", "192.0.2.1:8470 does not answer"),
    ("my-tpu", "metadata.google.internal:80 does not answer"),
  ],
)
def test_an_absent_tpu_is_an_error_in_seconds(
  run_program, write_config, tmp_path, name, reason
):
  start = time.monotonic()
  done = run_program(
    "train", write_config(), f"--workdir={tmp_path}", f"--tpu={name}"
  )
  assert time.monotonic() - start < 30
  assert f"tpu='{name}'" in done.complaint and reason in done.complaint


@pytest.fixture
def web_server():
  """Port of a server that speaks HTTP 1."""
  with http.server.ThreadingHTTPServer(
    ("127.0.0.1", 0), http.server.BaseHTTPRequestHandler
  ) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
      yield server.server_port
    finally:
      server.shutdown()


@pytest.fixture
def foreign_grpc_server():
  """Port of a gRPC server that is not TensorFlow's."""
  server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
  port = server.add_insecure_port("127.0.0.1:0")
  server.start()
  yield port
  server.stop(None)


@pytest.mark.parametrize("kind", ["web_server", "foreign_grpc_server"])
def test_another_program_behind_the_address_of_a_tpu(
  run_program, write_config, tmp_path, request, kind
):
  """TensorFlow would abort the process."""
  address = f"127.0.0.1:{request.getfixturevalue(kind)}"
  done = run_program(
    *("train", write_config(), f"--workdir={tmp_path}"),
    f"--tpu=grpc://{address}",
  )
  assert f"{address} does not answer as a TensorFlow server" in done.complaint
  assert "check `ls /dev/accel*" in done.complaint


def test_a_tensorflow_server_without_a_tpu(run_program, write_config, tmp_path):
  """The check lets it pass: TensorFlow says what is missing."""
  server = tf.distribute.Server({"worker": ["127.0.0.1:0"]}, start=True)
  done = run_program(
    *("train", write_config(), f"--workdir={tmp_path}"),
    f"--tpu={server.target}",
  )
  assert "TPUs not found in the cluster" in done.complaint


@pytest.mark.parametrize(
  ("described", "flags", "named"),
  [
    ("not json", (), "TF_CONFIG=not json"),
    ("[]", (), "TF_CONFIG=[]"),
    (
      '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}}',
      ("--cores=2",),
      "workers=2",
    ),
  ],
)
def test_tf_config_that_cannot_be_used(
  run_program, write_config, tmp_path, described, flags, named
):
  done = run_program(
    "train",
    write_config(),
    f"--workdir={tmp_path}",
    *flags,
    environment={"TF_CONFIG": described},
  )
  assert named in done.complaint
