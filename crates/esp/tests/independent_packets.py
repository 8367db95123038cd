#!/usr/bin/env python3
"""Writes independent_packets.txt: one ESP tunnel packet for each algorithm, without and with extended sequence numbers, sealed by
Python's `cryptography` (OpenSSL) and `hmac`, from the RFCs alone. Columns: algorithm, extended, key, salt, sequence number, packet."""

import hashlib
import hmac
import pathlib
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

SPI = 0x01020304
INNER = bytes.fromhex("4500002100070000402f96480a0100010a0200020102030405060708090a0b0c0d")
HASHES = {"Sha1_96": ("sha1", 12), "Sha256_128": ("sha256", 16), "Sha384_192": ("sha384", 24), "Sha512_256": ("sha512", 32)}


def octets(count, first):
    return bytes((first + 7 * place) % 256 for place in range(count))


def padded(block):
    pad = -(len(INNER) + 2) % block
    return INNER + bytes(range(1, pad + 1)) + bytes([pad, 4])


def seal(name, extended):
    sequence = (5 << 32) + 9 if extended else 9
    low, high = struct.pack(">I", sequence & 0xFFFFFFFF), struct.pack(">I", sequence >> 32)
    header = struct.pack(">I", SPI) + low
    aad = struct.pack(">I", SPI) + (high if extended else b"") + low
    if "(" not in name:
        bits = 256 if name.startswith("ChaCha") else int(name[-3:])
        key, salt, iv = octets(bits // 8, 1), octets(4, 200), struct.pack(">Q", sequence)
        aead = (ChaCha20Poly1305 if name.startswith("ChaCha") else AESGCM)(key)
        text = padded(4)
        if name.startswith("AesGmac"):
            return key, salt, sequence, header + iv + text + aead.encrypt(salt + iv, b"", aad + iv + text)
        return key, salt, sequence, header + iv + aead.encrypt(salt + iv, text, aad)
    cipher, of = name[:-1].split("(")
    hash_name, icv = HASHES[of]
    mac_key = octets(hashlib.new(hash_name).digest_size, 90)
    if cipher == "Null":
        key, body = b"", padded(4)
    else:
        key, iv = octets(int(cipher[-3:]) // 8, 1), octets(16, 33)
        encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
        body = iv + encryptor.update(padded(16)) + encryptor.finalize()
    covered = header + body + (high if extended else b"")
    return key + mac_key, b"", sequence, header + body + hmac.new(mac_key, covered, hash_name).digest()[:icv]


names = ["AesGcm128", "AesGcm192", "AesGcm256", "ChaCha20Poly1305", "AesGmac128", "AesGmac192", "AesGmac256"]
names += [f"{cipher}({of})" for cipher in ("Null", "AesCbc128", "AesCbc192", "AesCbc256") for of in HASHES]
lines = []
for algorithm in names:
    for is_extended in (False, True):
        key, salt, sequence, packet = seal(algorithm, is_extended)
        lines.append(f"{algorithm} {str(is_extended).lower()} {key.hex()} {salt.hex() or '-'} {sequence} {packet.hex()}\n")
pathlib.Path(__file__).with_suffix(".txt").write_text("".join(lines))
