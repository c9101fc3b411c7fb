"""What is no UTF-8 text is refused by file and line."""

import gzip
import os

import pytest

from tf_pcc.data import lines


def test_lines_without_a_byte_order_mark(tmp_path):
  path = tmp_path / "x.txt"
  path.write_bytes("\ufeffcaf\u00e9\r\nb\n\nc".encode())
  assert list(lines.read_lines(path)) == ["caf\u00e9\n", "b\n", "\n", "c"]


@pytest.mark.parametrize("order", ["little", "big"])
def test_utf_16_with_and_without_a_mark(tmp_path, order):
  path = tmp_path / "x.txt"
  content = "a b\n".encode(f"utf-16-{order[0]}e")
  mark = {"little": b"\xff\xfe", "big": b"\xfe\xff"}[order]
  path.write_bytes(mark + content)
  with pytest.raises(ValueError, match="save it as UTF-8.*UTF-16"):
    list(lines.read_lines(path))
  path.write_bytes(content)
  with pytest.raises(ValueError, match="save the file as UTF-8"):
    list(lines.read_lines(path))


def test_a_line_with_nul_is_named(tmp_path):
  path = tmp_path / "x.txt"
  path.write_bytes(b"good\nHEL\0LO\n")
  with pytest.raises(ValueError, match="must hold no NUL") as caught:
    list(lines.read_lines(path))
  assert str(caught.value).startswith(f"Line 2 of {path} ")
  assert str(caught.value).endswith(r"Received: line=b'HEL\x00LO\n'")


def test_a_file_that_cannot_be_read(tmp_path):
  (tmp_path / "x.txt").symlink_to("nowhere")
  for name in ("x.txt", "y.txt", "."):
    with pytest.raises(ValueError, match="`path` must be a readable file"):
      list(lines.read_lines(tmp_path / name))


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_a_fifo_is_not_waited_for(tmp_path, name):
  os.mkfifo(tmp_path / name)
  with pytest.raises(ValueError, match=f"{name} must be a regular file"):
    list(lines.read_lines(tmp_path / name))


def test_what_is_compressed_to_fill_the_memory(tmp_path):
  """17 kB of a file would be a line of 17 MB, and 1 MB one of 1 GB."""
  path = tmp_path / "x.jsonl.gz"
  path.write_bytes(gzip.compress(b"[" * (2**24 + 1)))
  with pytest.raises(ValueError, match="200 times its own size.*jsonl.gz"):
    list(lines.read_lines(path))
  # What is small, or does not shrink so much, is read.
  path.write_bytes(gzip.compress(b"x" * 2**20))
  assert list(lines.read_lines(path)) == ["x" * 2**20]
  text = "".join(f"{i:09d}\n" for i in range(2 * 2**20))
  path.write_bytes(gzip.compress(text.encode(), 1))
  assert sum(map(len, lines.read_lines(path))) == len(text) > 2**24


@pytest.mark.parametrize("name", ["x.tsv", "x.tsv.gz"])
def test_a_line_that_does_not_end(tmp_path, name):
  path = tmp_path / name
  with open(path, "wb") as file:
    if name == "x.tsv":
      # 64 GB of zeroes, none of them on the disk.
      file.truncate(2**36)
    else:
      file.write(gzip.compress(bytes(2**24)))
  with pytest.raises(ValueError, match="lines are shorter|must hold no NUL"):
    list(lines.read_lines(path))
