"""The client that serve.md shows, against a stand-in for TensorFlow Serving."""

import http.server
import json
import pathlib
import re
import shutil
import subprocess
import sys
import threading

import pytest
import tensorflow as tf

from launch import export
from launch.recognition import functions
from tf_pcc.data import audio

GUIDE = pathlib.Path(export.__file__).with_name("serve.md").read_text()


@pytest.fixture(scope="module")
def exported(saved_run, tmp_path_factory):
  output = tmp_path_factory.mktemp("served") / "recogniser" / "1"
  export.export(str(saved_run), str(output))
  return output


@pytest.fixture(scope="module")
def server(exported):
  """Answers predict requests in Serving's column format, on a free port."""
  signatures = tf.saved_model.load(str(exported)).signatures

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
      assert self.path == "/v1/models/recogniser:predict"
      length = int(self.headers["Content-Length"])
      status, answer = self._predict(json.loads(self.rfile.read(length)))
      content = json.dumps(answer).encode()
      self.send_response(status)
      self.send_header("Content-Length", str(len(content)))
      self.end_headers()
      self.wfile.write(content)

    def _predict(self, body):
      try:
        function = signatures[body["signature_name"]]
        specs = function.structured_input_signature[1]
        given = body["inputs"]
        if set(given) != set(specs):
          return 400, {"error": f"inputs must be {sorted(specs)}"}
        found = function(
          **{k: tf.constant(v, specs[k].dtype) for k, v in given.items()}
        )
      except tf.errors.InvalidArgumentError as error:
        return 400, {"error": error.message}
      outputs = {k: v.numpy().tolist() for k, v in found.items()}
      outputs["transcripts"] = [t.decode() for t in outputs["transcripts"]]
      return 200, {"outputs": outputs}

    def log_message(self, *arguments):
      pass

  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def _client():
  (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
  return code


def test_the_client_prints_the_transcript(
  server, exported, recordings, tmp_path
):
  path = next(iter(recordings))
  shutil.copy(path, tmp_path / "a.wav")
  assert "localhost:8501" in _client()
  done = subprocess.run(
    [sys.executable, "-c", _client().replace("localhost:8501", server)],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    check=False,
    timeout=100,
  )
  assert done.returncode == 0, done.stderr
  function = functions.saved_model_function(str(exported))
  (want,) = function([audio.load(path)], 16000)
  text, score = done.stdout.rsplit(maxsplit=1)
  assert text == want and want and float(score) < 0


def test_outputs_are_those_of_the_guide(exported):
  signatures = json.loads((exported / "metadata.json").read_text())
  outputs = signatures["signatures"]["serving_default"]["outputs"]
  listed = re.findall(r"^\| (`.*?`) \|", GUIDE, re.MULTILINE)
  assert set(re.findall(r"`(\w+)`", " ".join(listed))) == set(outputs)


def test_the_commands_of_the_guide():
  commands = " ".join(re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL))
  assert "--output=served/recogniser/1" in commands
  assert "/served/recogniser:/models/recogniser" in commands
  assert "MODEL_NAME=recogniser" in commands
