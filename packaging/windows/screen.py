#!/usr/bin/env python3
"""Looks at a virtual screen as a person would: screen.py SHOT.png colour RRGGBB | text WORDS | read

colour  prints the middle of the region of this colour nearest to the lower right corner, where the tray is
text    prints the middle of these words
read    prints everything that can be read
Exits with 1 when there is no such thing.
"""
import subprocess
import sys


def pixels(shot):
    data = subprocess.run(["convert", shot, "-depth", "8", "ppm:-"], check=True, capture_output=True).stdout
    magic, size, depth, body = data.split(b"\n", 3)
    assert (magic, depth) == (b"P6", b"255"), (magic, depth)
    width, height = map(int, size.split())
    return width, height, body


def colour(shot, wanted):
    wanted = bytes.fromhex(wanted)
    width, height, body = pixels(shot)
    found = [
        (at % width, at // width)
        for at in range(width * height)
        if body[3 * at : 3 * at + 3] == wanted
    ]
    if not found:
        return 1
    corner = max(found, key=lambda place: place[0] + place[1])
    near = [place for place in found if abs(place[0] - corner[0]) < 24 and abs(place[1] - corner[1]) < 24]
    # A stray pixel is no icon.
    if len(near) < 30:
        return 1
    print(sum(x for x, _ in near) // len(near), sum(y for _, y in near) // len(near))
    return 0


SCALE = 3


def words(shot):
    """Words in lines, each with its box on the screen."""
    large = shot + ".large.png"
    subprocess.run(["convert", shot, "-colorspace", "Gray", "-filter", "Lanczos", "-resize", f"{SCALE}00%", large], check=True)
    read = ["tesseract", large, "-", "--psm", "11", "-l", "eng+deu", "tsv"]
    table = subprocess.run(read, check=True, capture_output=True, text=True).stdout.splitlines()
    lines = {}
    for row in table[1:]:
        cells = row.split("\t")
        if len(cells) == 12 and cells[11].strip():
            box = [int(cell) // SCALE for cell in cells[6:10]]
            lines.setdefault(tuple(cells[1:5]), []).append((cells[11].strip(), box))
    return list(lines.values())


def text(shot, wanted):
    wanted = wanted.split()
    for line in words(shot):
        for at in range(len(line) - len(wanted) + 1):
            part = line[at : at + len(wanted)]
            if [word.strip(".,:") for word, _ in part] == [word.strip(".,:") for word in wanted]:
                left, top = part[0][1][0], part[0][1][1]
                right, bottom = part[-1][1][0] + part[-1][1][2], part[-1][1][1] + part[-1][1][3]
                print((left + right) // 2, (top + bottom) // 2)
                return 0
    return 1


def read(shot):
    for line in words(shot):
        print(" ".join(word for word, _ in line))
    return 0


if __name__ == "__main__":
    shot, what, *rest = sys.argv[1:]
    sys.exit({"colour": colour, "text": text, "read": read}[what](shot, *rest))
