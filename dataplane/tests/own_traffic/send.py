"""Sends what a host can send of its own, in the way that the first argument names. Options are NAME=VALUE.

    udp to=A [port=N] [from=A] [device=D] [mark=N] [via=A] [size=N]   a socket; via: loose source route (RFC 791)
    raw to=A data=HEX [device=D]                                      a raw socket, IP header included
    packet device=D data=HEX [bypass=1]                               a packet socket, Ethernet header included
    cooked device=D data=HEX mac=HEX                                  a packet socket, the kernel adds the Ethernet header
"""
import socket
import sys

SO_MARK = 36
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
IP_MTU_DISCOVER = 10
TEXT = b"in clear"

kind, options = sys.argv[1], dict(argument.split("=", 1) for argument in sys.argv[2:])


def bound_to_device(sock):
    if "device" in options:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, options["device"].encode() + b"\0")
    return sock


def udp():
    to = options["to"]
    sock = bound_to_device(socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM))
    if "mark" in options:
        sock.setsockopt(socket.SOL_SOCKET, SO_MARK, int(options["mark"]))
    if "via" in options:
        hop = socket.inet_aton(options["via"])
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([131, 7, 4]) + hop + b"\0")
    if ":" not in to:
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, 0)
    if "from" in options:
        sock.bind((options["from"], 0))
    size = int(options.get("size", len(TEXT)))
    sock.sendto((TEXT * (size // len(TEXT) + 1))[:size], (to, int(options.get("port", 9999))))


def raw():
    sock = bound_to_device(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
    sock.sendto(bytes.fromhex(options["data"]), (options["to"], 0))


def packet():
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    if "bypass" in options:
        sock.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    sock.bind((options["device"], 0))
    sock.send(bytes.fromhex(options["data"]))


def cooked():
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    sock.sendto(bytes.fromhex(options["data"]), (options["device"], 0x0800, 0, 0, bytes.fromhex(options["mac"])))


try:
    {"udp": udp, "raw": raw, "packet": packet, "cooked": cooked}[kind]()
except OSError as error:
    # A refusal by the sender's own stack is one way not to leave.
    print(error)
