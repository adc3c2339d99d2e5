"""A TCP peer for tests that must see exactly how a connection ends.

Reads one command a line from stdin and answers each with one line on stdout, both JSON. Every command
runs in a thread of its own, so that a blocked read or write holds up nothing else. Times are in
milliseconds of CLOCK_MONOTONIC. The end of stdin ends the peer.
"""
import errno
import json
import os
import select
import socket
import struct
import sys
import threading
import time

PATIENCE_S = 20.0
CHUNK_BYTES = 65536
BLOCK_BYTES = 65521
TEXT_BYTES = 4096
PROBE_S = 0.005
VEIL = bytes(value ^ 0x5A for value in range(256))

things = {}
things_lock = threading.Lock()
output_lock = threading.Lock()
last_number = 0


def now_ms():
    return time.monotonic_ns() / 1e6


def keep(thing):
    global last_number
    with things_lock:
        last_number += 1
        things[last_number] = thing
        return last_number


def block_of(seed):
    """The bytes that repeat in a stream; a seed has its own, and no two places of it look alike."""
    state = 2463534242 ^ (seed * 2654435761 & 0xFFFFFFFF)
    out = bytearray(BLOCK_BYTES + 3)
    for at in range(0, BLOCK_BYTES, 4):
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        struct.pack_into('<I', out, at, state)
    return bytes(out[:BLOCK_BYTES])


class Pattern:
    """An endless stream of known bytes."""

    def __init__(self, seed):
        self.blocks = block_of(seed) * 3

    def take(self, at, size, veiled=0):
        """Up to the place `veiled` every byte is another one."""
        size = min(size, CHUNK_BYTES)
        begin = at % BLOCK_BYTES
        plain = self.blocks[begin:begin + size]
        count = min(max(veiled - at, 0), size)
        return plain[:count].translate(VEIL) + plain[count:] if count else plain


patterns = {}
patterns_lock = threading.Lock()


def pattern_of(seed):
    with patterns_lock:
        if seed not in patterns:
            patterns[seed] = Pattern(seed)
        return patterns[seed]


def name_of(error):
    if error.errno is None:
        return 'patience' if isinstance(error, socket.timeout) else str(error)
    return errno.errorcode.get(error.errno, str(error))


class Conn:
    def __init__(self, sock):
        sock.settimeout(PATIENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        # Bytes of a pattern so far; what is said in words does not count.
        self.sent = 0
        self.read = 0
        self.early = None


def set_buffers(sock, given):
    if 'receiveBuffer' in given:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, given['receiveBuffer'])
    if 'sendBuffer' in given:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, given['sendBuffer'])


def family_of(host):
    return socket.AF_INET6 if ':' in host else socket.AF_INET


def do_listen(given):
    sock = socket.socket(family_of(given['host']), socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    set_buffers(sock, given)
    sock.bind((given['host'], given.get('port', 0)))
    sock.listen(given.get('backlog', 512))
    sock.settimeout(PATIENCE_S)
    return {'listener': keep(sock), 'port': sock.getsockname()[1]}


def do_accept(given):
    listener = things[given['listener']]
    if 'waitMs' in given:
        ready, _, _ = select.select([listener], [], [], given['waitMs'] / 1000)
        if not ready:
            return {'conn': 0, 'port': 0, 'at': now_ms()}
    sock, address = listener.accept()
    at = now_ms()
    return {'conn': keep(Conn(sock)), 'port': address[1], 'at': at}


def do_connect(given):
    sock = socket.socket(family_of(given['host']), socket.SOCK_STREAM)
    set_buffers(sock, given)
    sock.settimeout(PATIENCE_S)
    early = None
    try:
        sock.connect((given['host'], given['port']))
    except ConnectionResetError:
        # It was there and was reset before we looked; whoever reads first is told.
        early = 'ECONNRESET'
    except OSError:
        sock.close()
        raise
    at = now_ms()
    conn = Conn(sock)
    conn.early = early
    return {'conn': keep(conn), 'port': sock.getsockname()[1], 'at': at}


def do_send(given):
    """Writes text, hexadecimal bytes or so much of a pattern; says how far it came and what stopped it."""
    conn = things[given['conn']]
    step = min(given.get('step', CHUNK_BYTES), CHUNK_BYTES)
    every = given.get('everyMs', 0) / 1000
    if 'text' in given or 'hex' in given:
        whole = given['text'].encode() if 'text' in given else bytes.fromhex(given['hex'])
        size = len(whole)
        take = lambda at, count: whole[at:at + count]
        pattern = None
    else:
        pattern = pattern_of(given['seed'])
        start = conn.sent
        size = given['bytes']
        veiled = given.get('veiled', 0)
        take = lambda at, count: pattern.take(start + at, count, veiled)
    done = 0
    failed = None
    try:
        while done < size:
            if every and done:
                time.sleep(every)
            count = conn.sock.send(take(done, min(step, size - done)))
            done += count
            if pattern is not None:
                conn.sent += count
        if given.get('thenEnd'):
            conn.sock.shutdown(socket.SHUT_WR)
    except OSError as error:
        failed = name_of(error)
    return {'sent': done, 'failed': failed, 'at': now_ms()}


def do_fill(given):
    """Writes a pattern until the kernel has taken nothing for `quietMs`."""
    conn = things[given['conn']]
    pattern = pattern_of(given['seed'])
    start = conn.sent
    done = 0
    step = given.get('step', CHUNK_BYTES)
    quiet_s = given['quietMs'] / 1000
    last = time.monotonic()
    failed = None
    while time.monotonic() - last < quiet_s:
        try:
            # Not by `send`, which waits: the descriptor itself is non-blocking.
            count = os.write(conn.sock.fileno(), pattern.take(start + done, step))
            done += count
            conn.sent += count
            last = time.monotonic()
        except BlockingIOError:
            select.select([], [conn.sock], [], PROBE_S)
            time.sleep(PROBE_S)
        except OSError as error:
            failed = name_of(error)
            break
    return {'sent': done, 'failed': failed, 'at': now_ms()}


def do_read(given):
    """Reads so many bytes, or to the end: `eof`, the name of an error, or null for "not yet"."""
    conn = things[given['conn']]
    limit = given.get('bytes')
    step = min(given.get('step', CHUNK_BYTES), CHUNK_BYTES)
    every = given.get('everyMs', 0) / 1000
    pattern = pattern_of(given['seed']) if 'seed' in given else None
    veiled = given.get('veiled', 0)
    start = conn.read
    done = 0
    head = bytearray()
    end = None
    is_right = True
    first_at = None
    while limit is None or done < limit:
        if every and done:
            time.sleep(every)
        if conn.early is not None:
            end, conn.early = conn.early, None
            break
        try:
            got = conn.sock.recv(step if limit is None else min(step, limit - done))
        except OSError as error:
            end = name_of(error)
            break
        if not got:
            end = 'eof'
            break
        if first_at is None:
            first_at = now_ms()
        if pattern is not None and got != pattern.take(start + done, len(got), veiled):
            is_right = False
        if len(head) < TEXT_BYTES:
            head += got[:TEXT_BYTES - len(head)]
        done += len(got)
        if pattern is not None:
            conn.read += len(got)
    return {
        'bytes': done,
        'end': end,
        'hex': head.hex(),
        'isRight': is_right,
        'firstAt': first_at,
        'at': now_ms(),
    }


def do_gone(given):
    """Waits for the connection to be broken, without reading: `error`, `closed`, or null for "not yet"."""
    conn = things[given['conn']]
    waiter = select.poll()
    waiter.register(conn.sock, 0)
    seen = waiter.poll(given.get('waitMs', PATIENCE_S * 1000))
    at = now_ms()
    if not seen:
        return {'why': None, 'at': at}
    # The error itself stays where it is, for whoever reads next.
    return {'why': 'error' if seen[0][1] & select.POLLERR else 'closed', 'at': at}


def do_shutdown(given):
    at = now_ms()
    things[given['conn']].sock.shutdown(socket.SHUT_WR)
    return {'at': at}


def do_close(given):
    conn = things.pop(given['conn'])
    at = now_ms()
    conn.sock.close()
    return {'at': at}


def do_reset(given):
    conn = things.pop(given['conn'])
    conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    at = now_ms()
    if given.get('afterEnd'):
        conn.sock.shutdown(socket.SHUT_WR)
    conn.sock.close()
    return {'at': at}


def do_stop(given):
    things.pop(given['listener']).close()
    return {}


commands = {
    'listen': do_listen,
    'accept': do_accept,
    'connect': do_connect,
    'send': do_send,
    'fill': do_fill,
    'read': do_read,
    'gone': do_gone,
    'shutdown': do_shutdown,
    'close': do_close,
    'reset': do_reset,
    'stop': do_stop,
}


def serve(given):
    answer = {'id': given['id']}
    try:
        if 'afterMs' in given:
            time.sleep(given['afterMs'] / 1000)
        answer['is'] = commands[given['do']](given)
    except OSError as error:
        answer['error'] = name_of(error)
    except Exception as error:
        answer['error'] = f'{type(error).__name__}: {error}'
    line = json.dumps(answer) + '\n'
    with output_lock:
        sys.stdout.write(line)
        sys.stdout.flush()


def main():
    for line in sys.stdin:
        threading.Thread(target=serve, args=(json.loads(line),), daemon=True).start()
    os._exit(0)


main()
