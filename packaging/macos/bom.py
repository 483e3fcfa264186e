#!/usr/bin/env python3
"""A bill of materials, the list of a package's files that Apple's Installer wants: bom.py make BOM SECONDS FOLDER, bom.py list BOM.

Everything is root's, of the group wheel, and of the moment SECONDS since 1970. A file of numbered blocks (all numbers big-endian):

    header, padded to 512 | blocks | named blocks: BomInfo Paths HLIndex VIndex Size64 | offset and length of every block

Paths is a tree with one leaf; its entries lie by parent and name. Programs are listed as plain files, as `mkbom` does with scripts: the
processors they are for stand in the package's `preinstall`. Apple documents none of this; the layout is that of lists which its own tools wrote.
"""
import os
import stat
import struct
import subprocess
import sys

LEAF_BYTES, LEAF_BYTES_SMALL, HEADER_BYTES = 4096, 128, 512
ENTRIES_MAX = (LEAF_BYTES - 12) // 8
FILE, FOLDER, LINK = 1, 2, 3
# Not only a path, and no program for one processor.
FLAGS = 0x000F


def checksum(contents):
    said = subprocess.run(["cksum"], input=contents, check=True, capture_output=True).stdout
    return int(said.split()[0])


def record(path, seconds):
    """What a path is; its own block."""
    meta = os.lstat(path)
    kind = {stat.S_IFREG: FILE, stat.S_IFDIR: FOLDER, stat.S_IFLNK: LINK}[stat.S_IFMT(meta.st_mode)]
    size, more = 0, b""
    if kind == FILE:
        with open(path, "rb") as file:
            contents = file.read()
        size, more = len(contents), struct.pack(">I", checksum(contents))
    elif kind == LINK:
        target = os.readlink(os.fsencode(path))
        size = len(target)
        more = struct.pack(">II", checksum(target), len(target) + 1) + target + b"\0"
    head = struct.pack(">BBHHIIIIB", kind, 1, FLAGS, meta.st_mode & 0xFFFF, 0, 0, seconds, size, 1)
    return size, head + more + bytes(8)


def walk(folder):
    """Every path below the folder, with its parent's number; folders before what is in them, each by name."""
    numbers, level = {".": 1}, ["."]
    yield 1, 0, "."
    while level:
        below = []
        for parent in level:
            for name in sorted(os.listdir(os.path.join(folder, parent)), key=os.fsencode):
                path = os.path.join(parent, name)
                numbers[path] = len(numbers) + 1
                yield numbers[path], numbers[parent], path
                full = os.path.join(folder, path)
                if os.path.isdir(full) and not os.path.islink(full):
                    below.append(path)
        level = below


class Blocks:
    def __init__(self):
        self.blocks = [b""]

    def add(self, contents):
        self.blocks.append(contents)
        return len(self.blocks) - 1

    def tree(self, entries, leaf_bytes):
        leaf = struct.pack(">HHII", 1, len(entries), 0, 0) + b"".join(struct.pack(">II", *entry) for entry in entries)
        child = self.add(leaf.ljust(leaf_bytes, b"\0"))
        return self.add(struct.pack(">4sIIIIB", b"tree", 1, child, leaf_bytes, len(entries), 0))


def make(folder, seconds):
    blocks, entries, bytes_all = Blocks(), [], 0
    for number, parent, path in walk(folder):
        size, contents = record(os.path.join(folder, path), seconds)
        bytes_all += size
        info = blocks.add(struct.pack(">II", number, blocks.add(contents)))
        name = os.fsencode(os.path.basename(path))
        entries.append((info, blocks.add(struct.pack(">I", parent) + name + b"\0")))
    if len(entries) > ENTRIES_MAX:
        sys.exit(f"{len(entries)} files are more than one leaf of the list holds")
    information = struct.pack(">III", 1, len(entries) + 1, 1) + struct.pack(">IIII", 0, 0, bytes_all, 0)
    virtual = blocks.tree([], LEAF_BYTES_SMALL)
    named = {
        b"BomInfo": blocks.add(information),
        b"Paths": blocks.tree(entries, LEAF_BYTES),
        b"HLIndex": blocks.tree([], LEAF_BYTES),
        b"VIndex": blocks.add(struct.pack(">IIIB", 1, virtual, 0, 0)),
        b"Size64": blocks.tree([], LEAF_BYTES),
    }
    return assemble(blocks.blocks, named)


def assemble(blocks, named):
    body, table = b"", struct.pack(">III", len(blocks), 0, 0)
    for block in blocks[1:]:
        table += struct.pack(">II", HEADER_BYTES + len(body), len(block))
        body += block
    # No block is free; two empty places end the list of those that are.
    table += struct.pack(">I", 0) + bytes(16)
    names = struct.pack(">I", len(named))
    names += b"".join(struct.pack(">IB", block, len(name)) + name for name, block in named.items())
    at = HEADER_BYTES + len(body)
    header = struct.pack(
        ">8sIIIIII", b"BOMStore", 1, len(blocks) - 1, at + len(names), len(table), at, len(names)
    )
    return header.ljust(HEADER_BYTES, b"\0") + body + names + table


def listed(data):
    """What a list says: path, mode in octal, owner and group, and of a file its size and checksum, by path."""
    magic, version, _, table_at, _, names_at, _ = struct.unpack(">8sIIIIII", data[:32])
    if (magic, version) != (b"BOMStore", 1):
        sys.exit("it is no bill of materials")
    count = struct.unpack_from(">I", data, table_at)[0]

    def block(number):
        if number >= count:
            sys.exit(f"there is no block {number}")
        at, length = struct.unpack_from(">II", data, table_at + 4 + 8 * number)
        return data[at : at + length]

    named, at = {}, names_at + 4
    for _ in range(struct.unpack_from(">I", data, names_at)[0]):
        number, length = struct.unpack_from(">IB", data, at)
        named[data[at + 5 : at + 5 + length]] = number
        at += 5 + length
    child, _, total = struct.unpack_from(">III", block(named[b"Paths"]), 8)
    paths, lines = {0: None}, {}
    while child:
        leaf = block(child)
        _, entries, child = struct.unpack_from(">HHI", leaf)
        for info, name in struct.iter_unpack(">II", leaf[12 : 12 + 8 * entries]):
            number, meta = struct.unpack(">II", block(info))
            parent, text = struct.unpack_from(">I", block(name))[0], os.fsdecode(block(name)[4:-1])
            paths[number] = text if paths[parent] is None else f"{paths[parent]}/{text}"
            kind, _, _, mode, owner, group, _, size = struct.unpack_from(">BBHHIIII", block(meta))
            more = f"\t{size}\t{struct.unpack_from('>I', block(meta), 23)[0]}" if kind == FILE else ""
            lines[paths[number]] = f"{paths[number]}\t{mode:o}\t{owner}/{group}{more}"
    if len(lines) != total:
        sys.exit(f"{len(lines)} paths of {total}")
    return [lines[path] for path in sorted(lines)]


def main():
    match sys.argv[1:]:
        case ["make", bom, seconds, folder]:
            contents = make(folder, int(seconds))
            with open(bom, "wb") as file:
                file.write(contents)
        case ["list", bom]:
            with open(bom, "rb") as file:
                print("\n".join(listed(file.read())))
        case _:
            sys.exit("usage: bom.py make BOM SECONDS FOLDER | list BOM")


if __name__ == "__main__":
    main()
