"""Ways in which the bytes of a file come to harm, by a seeded generator."""

import json


def mutate(content, random):
  """Damages a file's content.

  Args:
    content: bytes.
    random: `numpy.random.Generator`.

  Returns:
    bytes, other ones than `content` in all but rare cases.
  """
  ways = list(_WAYS)
  try:
    value = json.loads(content)
  except ValueError:
    pass
  else:
    if random.random() < 0.6:
      return json.dumps(_other_value(value, random)).encode()
  return ways[random.integers(len(ways))](content, random)


def _place(content, random):
  """An index; headers are as likely as all the rest."""
  end = len(content) if random.random() < 0.5 else min(len(content), 64)
  return int(random.integers(max(end, 1)))


def _stretch(content, random):
  start = _place(content, random)
  return start, start + int(random.integers(1, 2 + len(content) // 4))


def _flip_one(content, random):
  changed = bytearray(content or b"\0")
  changed[_place(changed, random)] ^= 1 << int(random.integers(8))
  return bytes(changed)


def _replace_some(content, random):
  changed = bytearray(content or b"\0")
  for _ in range(int(random.integers(1, 17))):
    changed[_place(changed, random)] = int(random.integers(256))
  return bytes(changed)


def _extreme_number(content, random):
  """Four bytes of a header that are a length or a rate, perhaps."""
  start = _place(content, random)
  value = (b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f")
  return content[:start] + value[random.integers(4)] + content[start + 4 :]


def _cut(content, random):
  return content[: _place(content, random)]


def _empty(content, random):
  return b""


def _zeroes(content, random):
  start, end = _stretch(content, random)
  kept = content[end:]
  return content[:start] + bytes(len(content) - start - len(kept)) + kept


def _remove(content, random):
  start, end = _stretch(content, random)
  return content[:start] + content[end:]


def _repeat(content, random):
  start, end = _stretch(content, random)
  return content[:end] + content[start:]


def _insert(content, random):
  start = _place(content, random)
  length = int(random.integers(1, 200))
  return content[:start] + random.bytes(length) + content[start:]


def _insert_text(content, random):
  pieces = ('"', "\t", "\n", "\r", "\0", "é", "-", "nan", "1e999", "[" * 5000)
  start = _place(content, random)
  piece = pieces[random.integers(len(pieces))]
  return content[:start] + piece.encode() + content[start:]


def _another_file(content, random):
  others = (
    b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    b"null",
    b"[]",
    b"{}",
    b"3",
    b"\xff\xfe{\x00}\x00",
    b"PK\x03\x04" + bytes(60),
    random.bytes(500),
    bytes(500),
  )
  return others[random.integers(len(others))]


_WAYS = (
  *(_flip_one, _replace_some, _extreme_number, _cut, _empty, _zeroes),
  *(_remove, _repeat, _insert, _insert_text, _another_file),
)


def _other_value(value, random):
  """A JSON value with one of its parts replaced, removed or added."""
  places = list(_places(value))
  if not places:
    return _strange(random)
  parent, key = places[random.integers(len(places))]
  what = random.random()
  if what < 0.7:
    parent[key] = _strange(random)
  elif what < 0.9:
    del parent[key]
  elif isinstance(parent, list):
    parent.insert(key, _strange(random))
  else:
    parent["unknown"] = _strange(random)
  return value


def _places(value):
  keys = range(len(value)) if isinstance(value, list) else value
  if isinstance(value, (list, dict)):
    for key in list(keys):
      yield value, key
      yield from _places(value[key])


def _strange(random):
  values = (
    *(None, True, False, 0, -1, 1, 10**30, -(10**9), 1e308, 1.5, float("nan")),
    *("", "x", "\0", "/dev/zero", "../../etc", "é" * 5000, "-1", "NaN"),
    *([], {}, [[]], [None], {"x": []}, ["a", "a"], [1, 2, 3]),
  )
  value = values[random.integers(len(values))]
  # No two places share a list.
  return json.loads(json.dumps(value))
