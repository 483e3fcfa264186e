#!/usr/bin/env python3
"""Restores a Nightkeep vault with nothing but FORMAT.md: an independent reader.

Usage: reader.py VAULT-FOLDER KEY-FILE TARGET-FOLDER

Reads the newest recovery point of every machine and writes its files, directories and symbolic links below
TARGET/MACHINE-NAME. Needs the packages blake3, cryptography and zstandard. It trusts nothing it has not verified:
names, hashes, seals, signatures. It does not set owners, times or attributes; contents and names are what it proves.
"""
import os
import struct
import sys

from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
import zstandard

RAW = (Encoding.Raw, PublicFormat.Raw)


class Bad(Exception):
    """The vault is not what FORMAT.md says."""


def need(condition, what):
    if not condition:
        raise Bad(what)


# --- Primitives -----------------------------------------------------------------------------------------------------


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        need(0 <= n <= len(self.data) - self.at, "ends too early")
        self.at += n
        return self.data[self.at - n:self.at]

    def rest(self):
        return self.take(len(self.data) - self.at)

    def done(self):
        return self.at == len(self.data)

    def u8(self):
        return self.take(1)[0]

    def u16(self):
        return struct.unpack("<H", self.take(2))[0]

    def u32(self):
        return struct.unpack("<I", self.take(4))[0]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                need(value < 1 << 64, "varint too large")
                return value
            shift += 7

    def zigzag(self):
        raw = self.varint()
        return (raw >> 1) ^ -(raw & 1)

    def bytes(self):
        return self.take(self.varint())

    def list(self, read):
        return [read() for _ in range(self.varint())]

    def fields(self, known):
        found = {}
        while not self.done():
            tag = self.varint()
            value = self.bytes()
            need(tag in known or tag % 2 == 1, f"unknown mandatory field {tag}")
            found[tag] = Reader(value)
        return found


def keyed(key, *parts):
    hasher = blake3(key=key)
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def sub(key, text, salt=b""):
    return keyed(key, text.encode(), b"\0", salt)


def unseal(key, aad, sealed, ordinal=0):
    return AESGCM(key).decrypt(ordinal.to_bytes(12, "big"), sealed, aad)


# --- RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM ---------------------------------------


def hmac_sha256(key, data):
    mac = hmac.HMAC(key, hashes.SHA256())
    mac.update(data)
    return mac.finalize()


def extract(suite, salt, label, ikm):
    return hmac_sha256(salt or b"\0" * 32, b"HPKE-v1" + suite + label + ikm)


def expand(suite, prk, label, info, length):
    info = struct.pack(">H", length) + b"HPKE-v1" + suite + label + info
    out, block, n = b"", b"", 1
    while len(out) < length:
        block = hmac_sha256(prk, block + info + bytes([n]))
        out, n = out + block, n + 1
    return out[:length]


KEM = b"KEM" + struct.pack(">H", 0x20)
HPKE = b"HPKE" + struct.pack(">HHH", 0x20, 1, 2)


def derive_key_pair(seed):
    prk = extract(KEM, b"", b"dkp_prk", seed)
    return X25519PrivateKey.from_private_bytes(expand(KEM, prk, b"sk", b"", 32))


def hpke_open(private, info, aad, sealed):
    enc, ciphertext = sealed[:32], sealed[32:]
    shared = private.exchange(X25519PublicKey.from_public_bytes(enc))
    context = enc + private.public_key().public_bytes(*RAW)
    secret = expand(KEM, extract(KEM, b"", b"eae_prk", shared), b"shared_secret", context, 32)
    schedule = b"\0" + extract(HPKE, b"", b"psk_id_hash", b"") + extract(HPKE, b"", b"info_hash", info)
    prk = extract(HPKE, secret, b"secret", b"")
    key, nonce = expand(HPKE, prk, b"key", schedule, 32), expand(HPKE, prk, b"base_nonce", schedule, 12)
    return AESGCM(key).decrypt(nonce, ciphertext, aad)


# --- The vault ------------------------------------------------------------------------------------------------------


def parse_key_text(text):
    start = text.index("NK1-") + 4
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    bits = ""
    for character in text[start:].upper().replace("I", "1").replace("L", "1").replace("O", "0"):
        if character in alphabet and len(bits) < 85 * 5:
            bits += f"{alphabet.index(character):05b}"
    data = int(bits[:53 * 8], 2).to_bytes(53, "big")
    need(blake3(data[:49]).digest()[:4] == data[49:], "the key's checksum")
    return data[1:17], data[17:49]


class Vault:
    def __init__(self, folder, vault, root):
        self.folder, self.id, self.root = folder, vault, root
        self.k_id, self.k_index = self.derive("id key"), self.derive("index key")
        maintenance = Ed25519PrivateKey.from_private_bytes(self.derive("maintenance key"))
        self.maintenance = maintenance.public_key()
        config, _, _ = self.object("cfg/1", 1, self.maintenance)
        config = config.fields({2, 4, 6, 8, 10, 12, 14, 16, 18})
        need(config[2].rest() == vault and config[4].varint() == 1, "another vault or format")
        need(config[14].rest() == self.key_pair(1).public_key().public_bytes(*RAW), "another vault key")
        self.packs = {}

    def derive(self, purpose, extra=b""):
        context = f"nightkeep vault format 1 {purpose}"
        return blake3(self.root + self.id + extra, derive_key_context=context).digest()

    def key_pair(self, epoch):
        return derive_key_pair(self.derive("vault key pair", struct.pack("<I", epoch)))

    def read(self, name):
        with open(os.path.join(self.folder, name), "rb") as file:
            return file.read()

    def names(self, prefix):
        found = []
        for path, _, files in os.walk(os.path.join(self.folder, prefix)):
            found += [os.path.relpath(os.path.join(path, file), self.folder) for file in files]
        return sorted(found)

    def object(self, name, kind, signer, body_key=None):
        """The open part, header and body of a small object, after every check."""
        data = self.read(name)
        need(data[:4] == b"NKO1" and data[-4:] == b"NKO.", f"{name} is torn")
        need(blake3(data[:-44]).digest() == data[-44:-12], f"{name} has another hash")
        reader = Reader(data[4:-44])
        need(reader.u8() == kind and reader.u8() == 0, f"{name} is of another kind")
        signature_bytes = reader.u16()
        opened, header, body, reserved = (reader.u32() for _ in range(4))
        salt = reader.take(32)
        need(reserved == 0, f"{name} has an unknown form")
        opened, header, body = reader.take(opened), reader.take(header), reader.take(body)
        signed, signature = data[:4 + reader.at], reader.take(signature_bytes)
        message = b"nightkeep object v1\0" + self.id + name.encode() + b"\0" + signed
        try:
            signer.verify(signature, message)
        except InvalidSignature:
            raise Bad(f"{name} was signed by another") from None
        aad = self.id + bytes([kind]) + name.encode()
        header = unseal(sub(self.k_index, "object header", salt), aad, header) if header else b""
        if body_key:
            body = unseal(sub(body_key, "object body", salt), aad, body)
        return Reader(opened), Reader(header), Reader(body)

    def machines(self):
        for name in self.names("keys"):
            if not name.startswith("keys/machine-"):
                continue
            _, header, _ = self.object(name, 3, self.maintenance)
            fields = header.fields({2, 4, 6})
            machine = fields[2].rest()
            if 6 in fields:
                epoch = fields[7].varint() if 7 in fields else 1
                meta = hpke_open(self.key_pair(epoch), b"nightkeep k_meta v1", machine, fields[6].rest())
            else:
                meta = self.derive("machine meta key", machine)
            signer = Ed25519PublicKey.from_public_bytes(fields[4].rest())
            yield machine, fields[9].rest().decode(), signer, meta

    # --- Packs

    def pack(self, area, pack_id, metas):
        """The blocks of a pack by number: type, members, and a function that opens them."""
        if (area, pack_id) in self.packs:
            return self.packs[area, pack_id]
        hexed = pack_id.hex()
        data = self.read(f"{area}/{hexed[:2]}/{hexed}")
        need(blake3(data).digest() == pack_id, f"pack {hexed} has other bytes")
        need(data[:8] == b"NKPACK1\0" and data[-8:] == b"NKPEND1\0", "no pack")
        header_bytes = struct.unpack("<I", data[8:12])[0]
        reader = Reader(data[12:header_bytes])
        salt = reader.take(32)
        groups = [self.group(reader, metas) for _ in range(reader.u16())]
        footer_bytes = struct.unpack("<I", data[-16:-12])[0]
        aad = self.id + blake3(data[:header_bytes]).digest()
        footer = Reader(unseal(sub(self.k_index, "pack footer", salt), aad, data[-16 - footer_bytes:-16]))
        need(footer.varint() == 1, "another footer")
        blocks, offset = [], header_bytes
        for _ in range(footer.varint()):
            kind, codec = footer.u8(), footer.u8()
            group, ordinal, sealed, plain = (footer.varint() for _ in range(4))
            if kind == 2:
                members = footer.list(lambda: (footer.take(32), footer.varint()))
            else:
                members = [(footer.take(32), plain)]
            blocks.append((kind, codec, groups[group], ordinal, data[offset:offset + sealed], plain, members))
            offset += sealed
        self.packs[area, pack_id] = blocks
        return blocks

    def group(self, reader, metas):
        salt, key = reader.take(32), None
        for _ in range(reader.u8()):
            kind, content = reader.u8(), Reader(reader.take(reader.u16()))
            if kind == 1:
                epoch = content.u32()
                key = key or hpke_open(self.key_pair(epoch), b"nightkeep pack key v1", self.id + salt, content.rest())
            elif kind == 2 and content.take(16) in metas:
                key = key or sub(metas[content.data[:16]], "pack key", salt)
            elif kind == 3:
                key = key or sub(self.k_index, "pack key", salt)
        return salt, key

    def open_block(self, block):
        kind, codec, (salt, key), ordinal, sealed, plain_bytes, _ = block
        aad = self.id + salt + struct.pack("<I", ordinal) + bytes([kind])
        payload = unseal(key, aad, sealed, ordinal)
        if codec == 1:
            payload = zstandard.ZstdDecompressor().decompress(payload, max_output_size=plain_bytes)
        need(len(payload) == plain_bytes, "a block has another length")
        return payload


class Point:
    """A recovery point, opened; chunks are found in the footers of the data packs."""

    def __init__(self, vault, name, machine, signer, meta):
        self.vault, self.metas = vault, {machine: meta}
        _, header, body = vault.object(name, 8, signer, meta)
        known = {2, 4, 6, 8, 10, 12, 26, 28, 36}
        header, body = header.fields(known), body.fields({2, 4})
        self.catalogue_key = sub(meta, "catalogue id", machine)
        self.meta_blocks = {}
        for pack in header[28].list(lambda: header[28].take(32)):
            for block in vault.pack("m", pack, self.metas):
                self.meta_blocks[block[6][0][0]] = block
        self.hunk_list = body[2].rest()

    def blob(self, blob_id):
        plain = self.vault.open_block(self.meta_blocks[blob_id])
        need(keyed(self.catalogue_key, plain) == blob_id, "a catalogue block has another id")
        return Reader(plain)

    def entries(self):
        hunks = self.blob(self.hunk_list)
        for _ in range(hunks.varint()):
            hunks.bytes()
            hunk = hunks.take(32)
            hunks.take(32), hunks.varint(), hunks.list(lambda: hunks.take(64))
            yield from self.hunk(self.blob(hunk))

    def hunk(self, reader):
        path = b""
        for _ in range(reader.varint()):
            kind = reader.u8()
            path = path[:reader.varint()] + reader.bytes()
            for _ in range(3):
                reader.varint()
            for _ in range(2):
                reader.zigzag(), reader.varint()
            reader.varint()
            size, content = 0, []
            if kind == 1:
                size = reader.varint()
                content = self.content(reader)
            extras = Reader(reader.bytes()).fields({4, 6})
            yield kind, path, size, content, extras

    def content(self, reader):
        what = reader.u8()
        need(what <= 3, "unknown content")
        if what == 0:
            return []
        if what == 1:
            return [("inline", reader.bytes())]
        if what == 2:
            return self.pieces(reader)
        lists = reader.list(lambda: (reader.take(32), reader.varint()))
        return [piece for list_id, _ in lists for piece in self.pieces(self.blob(list_id))]

    @staticmethod
    def pieces(reader):
        def piece():
            length, what = reader.varint(), reader.u8()
            need(what in (1, 2), "unknown piece")
            return ("chunk", reader.take(32), length) if what == 1 else ("hole", length)
        return reader.list(piece)


def quarantined(vault):
    """The objects that repairs withdrew: writers wrote again what they held."""
    verdicts = {}
    for name in vault.names("q"):
        _, _, body = vault.object(name, 13, vault.maintenance, vault.k_index)
        listed = body.fields({2}).get(2, Reader(b"\0"))
        verdicts.update(listed.list(lambda: (listed.bytes().decode(), listed.varint())))
    return {name for name, verdict in verdicts.items() if verdict != 0}


def chunk_places(vault, metas):
    places, withdrawn = {}, quarantined(vault)
    for name in vault.names("p"):
        if name in withdrawn:
            continue
        for block in vault.pack("p", bytes.fromhex(os.path.basename(name)), metas):
            start = 0
            for member, length in block[6]:
                places.setdefault(member, (block, start, length))
                start += length
    return places


def write_file(vault, places, path, size, content, cache):
    with open(path, "wb") as file:
        for piece in content:
            if piece[0] == "inline":
                file.write(piece[1])
            elif piece[0] == "hole":
                file.seek(piece[1], os.SEEK_CUR)
            else:
                block, start, length = places[piece[1]]
                if cache.get("block") is not block:
                    cache["block"], cache["plain"] = block, vault.open_block(block)
                chunk = cache["plain"][start:start + length]
                need(keyed(vault.k_id, chunk) == piece[1], "a chunk has another id")
                file.write(chunk)
        file.truncate(size)


def restore(vault, target):
    for machine, name, signer, meta in vault.machines():
        points = vault.names(f"s/{machine.hex()}")
        if not points:
            continue
        point = Point(vault, points[-1], machine, signer, meta)
        places, cache, base = chunk_places(vault, point.metas), {}, os.path.join(target, name).encode()
        os.makedirs(base, exist_ok=True)
        count = 0
        for kind, path, size, content, extras in point.entries():
            need(b".." not in path.split(b"/") and not path.startswith(b"/"), "a path leads out")
            at = os.path.join(base, path)
            if kind == 2:
                os.makedirs(at, exist_ok=True)
            elif kind == 1:
                write_file(vault, places, at, size, content, cache)
                count += 1
            elif kind == 3:
                os.symlink(extras[4].rest(), at)
        print(f"{name}: {count} files")


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    folder, key_file, target = sys.argv[1:]
    with open(key_file, encoding="utf-8") as file:
        vault, root = parse_key_text(file.read())
    restore(Vault(folder, vault, root), target)


if __name__ == "__main__":
    main()
