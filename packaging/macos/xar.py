#!/usr/bin/env python3
"""Packs files into a xar archive: xar.py ARCHIVE SECONDS FILE... The same files give the same bytes, which those of bsdtar and xar
do not: they write down times that nobody can set. SECONDS since 1970 is everything's time.

A header, a compressed table of contents, and the files one after the other behind the table's checksum.
"""
import hashlib
import os
import struct
import sys
import time
import zlib
from xml.sax.saxutils import escape

SHA1 = 1


def entry(number, name, contents, offset, moment):
    digest = hashlib.sha1(contents).hexdigest()
    return (
        f'<file id="{number}"><data><archived-checksum style="sha1">{digest}</archived-checksum>'
        f'<extracted-checksum style="sha1">{digest}</extracted-checksum>'
        f'<encoding style="application/octet-stream"/><size>{len(contents)}</size>'
        f"<offset>{offset}</offset><length>{len(contents)}</length></data>"
        f"<mtime>{moment}</mtime><mode>0644</mode><uid>0</uid><user>root</user><gid>0</gid><group>wheel</group>"
        f"<type>file</type><name>{escape(name)}</name></file>"
    )


def archive(files, seconds):
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    offset = hashlib.sha1().digest_size
    table, heap = [], []
    for number, (name, contents) in enumerate(files, 1):
        table.append(entry(number, name, contents, offset, moment))
        heap.append(contents)
        offset += len(contents)
    toc = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<xar><toc><creation-time>{moment.rstrip('Z')}</creation-time>"
        '<checksum style="sha1"><offset>0</offset><size>20</size></checksum>'
        f"{''.join(table)}</toc></xar>\n"
    ).encode()
    packed = zlib.compress(toc, 9)
    header = struct.pack(">4sHHQQI", b"xar!", 28, 1, len(packed), len(toc), SHA1)
    return b"".join([header, packed, hashlib.sha1(packed).digest(), *heap])


def main():
    if len(sys.argv) < 4:
        sys.exit("usage: xar.py ARCHIVE SECONDS FILE...")
    files = []
    for path in sys.argv[3:]:
        with open(path, "rb") as file:
            files.append((os.path.basename(path), file.read()))
    with open(sys.argv[1], "wb") as file:
        file.write(archive(files, int(sys.argv[2])))


if __name__ == "__main__":
    main()
