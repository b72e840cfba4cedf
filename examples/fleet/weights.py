"""weights.py SOURCE TARGET FORMAT: write a GGUF file again with its layers in FORMAT, q8_0 or q4_0.

Only the tensors of the layers (`blk.*`) stored as Q4_1 change; the metadata is copied byte by byte, all other tensors too.
From Q4_1, q8_0 keeps practically everything and q4_0 loses the offset of each block of 32 weights.
"""
import struct
import sys

import numpy as np

BLOCK = 32            # weights in a block, in all three formats
F32, F16, Q4_0, Q4_1, Q8_0 = 0, 1, 2, 3, 8   # numbers of the formats in the file
BYTES_PER_BLOCK = {F32: 4 * BLOCK, F16: 2 * BLOCK, Q4_0: 18, Q4_1: 20, Q8_0: 34}
# Sizes of the metadata's value types that have a fixed one; 8 is a text, 9 an array.
VALUE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
TEXT, ARRAY = 8, 9


class Cursor:
    """Reads the header from front to back."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, form):
        value = struct.unpack_from("<" + form, self.data, self.at)[0]
        self.at += struct.calcsize(form)
        return value

    def text(self):
        size = self.number("Q")
        self.at += size
        return bytes(self.data[self.at - size:self.at])

    def skip_value(self, kind):
        if kind == TEXT:
            self.text()
        elif kind == ARRAY:
            item, count = self.number("I"), self.number("Q")
            if item in VALUE_BYTES:
                self.at += VALUE_BYTES[item] * count
            else:
                for _ in range(count):
                    self.skip_value(item)
        else:
            self.at += VALUE_BYTES[kind]


def unpack_q4_1(raw):
    """Blocks of: scale and minimum (f16), 16 bytes of two 4-bit steps each; the low halves come first."""
    blocks = raw.reshape(-1, BYTES_PER_BLOCK[Q4_1])
    scale = blocks[:, 0:2].copy().view(np.float16).astype(np.float32)
    least = blocks[:, 2:4].copy().view(np.float16).astype(np.float32)
    steps = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    return scale * steps + least


def inverse(scale):
    return np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)


def pack_q8_0(x):
    """Blocks of: scale (f16), 32 signed bytes."""
    scale = np.abs(x).max(axis=1, keepdims=True) / 127
    exact = x * inverse(scale)
    steps = np.trunc(exact + np.copysign(0.5, exact)).astype(np.int8)     # halves away from zero, as llama.cpp rounds
    return np.concatenate([scale.astype(np.float16).view(np.uint8), steps.view(np.uint8)], axis=1)


def pack_q4_0(x):
    """Blocks of: scale (f16), 16 bytes of two 4-bit steps; 8 stands for zero, the largest weight gets step 0."""
    largest = np.take_along_axis(x, np.abs(x).argmax(axis=1)[:, None], axis=1)
    scale = largest / -8
    steps = np.clip(np.floor(x * inverse(scale) + 8.5), 0, 15).astype(np.uint8)
    halves = steps[:, :BLOCK // 2] | (steps[:, BLOCK // 2:] << 4)
    return np.concatenate([scale.astype(np.float16).view(np.uint8), halves], axis=1)


FORMATS = {"q8_0": (Q8_0, pack_q8_0), "q4_0": (Q4_0, pack_q4_0)}


def read(data):
    """(metadata with the counts before it, tensors as (name, shape, kind, bytes), alignment)"""
    c = Cursor(data)
    if bytes(data[:4]) != b"GGUF":
        sys.exit("weights: not a GGUF file")
    c.at = 8
    tensor_count, value_count = c.number("Q"), c.number("Q")
    align = 32
    for _ in range(value_count):
        key, kind = c.text(), c.number("I")
        if key == b"general.alignment":
            align = struct.unpack_from("<I", data, c.at)[0]
        c.skip_value(kind)
    metadata = bytes(data[:c.at])
    infos = []
    for _ in range(tensor_count):
        name = c.text()
        shape = [c.number("Q") for _ in range(c.number("I"))]
        infos.append((name, shape, c.number("I"), c.number("Q")))
    start = -(-c.at // align) * align
    tensors = []
    for name, shape, kind, offset in infos:
        if kind not in BYTES_PER_BLOCK:
            sys.exit(f"weights: {name.decode()} has the unknown format {kind}")
        size = int(np.prod(shape)) * BYTES_PER_BLOCK[kind] // BLOCK
        tensors.append((name, shape, kind, data[start + offset:start + offset + size]))
    return metadata, tensors, align


def write(path, metadata, tensors, align):
    infos, offset = b"", 0
    for name, shape, kind, raw in tensors:
        infos += struct.pack("<Q", len(name)) + name + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
        offset += -(-len(raw) // align) * align
    with open(path, "wb") as out:
        out.write(metadata + infos)
        for *_, raw in tensors:
            out.write(b"\0" * (-out.tell() % align))
            out.write(raw)
        out.write(b"\0" * (-out.tell() % align))


def main():
    if len(sys.argv) != 4 or sys.argv[3] not in FORMATS:
        sys.exit(f"usage: weights.py SOURCE TARGET {'|'.join(FORMATS)}")
    kind, pack = FORMATS[sys.argv[3]]
    metadata, tensors, align = read(np.fromfile(sys.argv[1], dtype=np.uint8))
    changed = [
        (name, shape, kind, pack(unpack_q4_1(raw)).reshape(-1)) if old == Q4_1 and name.startswith(b"blk.") else (name, shape, old, raw)
        for name, shape, old, raw in tensors
    ]
    write(sys.argv[2], metadata, changed, align)


if __name__ == "__main__":
    main()
