import assert from 'node:assert/strict'
import type { BufferOptions, Peer, PeerConn } from './peer.ts'
import type { Target } from './tunnel.ts'

/** How a client gets to its target. */
export const ways = ['tunnel', 'socks5', 'http'] as const
export type Way = (typeof ways)[number]

export interface Ports {
  port(tag: string): number
}

const tags: Readonly<Record<Way, string>> = { tunnel: 'tunnel', socks5: 'socks', http: 'http' }

/** A client's connection to `target` through an engine, past the handshake. */
export async function openThrough(
  peer: Peer,
  ports: Ports,
  way: Way,
  target: Target,
  options: BufferOptions = {},
): Promise<PeerConn> {
  const conn = await peer.connect(ports.port(tags[way]), options)
  if (way === 'socks5') {
    await conn.sayBytes(socks5Greeting)
    assert.deepEqual((await conn.read({ bytes: 2 })).head, Buffer.from([5, 0]))
    await conn.sayBytes(socks5Connect(target))
    const answer = await conn.read({ bytes: 10 })
    assert.deepEqual([...answer.head.subarray(0, 2)], [5, 0], 'SOCKS says yes')
  } else if (way === 'http') {
    await conn.say(httpConnect(target))
    assert.equal(await conn.readText({ bytes: httpYes.length }), httpYes)
  }
  return conn
}

export const socks5Greeting: Uint8Array = Uint8Array.of(5, 1, 0)

/** The request for an IPv4 target (RFC 1928 section 4). */
export function socks5Connect({ host, port }: Target): Uint8Array {
  return Uint8Array.of(5, 1, 0, 1, ...host.split('.').map(Number), port >> 8, port & 255)
}

export function httpConnect({ host, port }: Target): string {
  const authority = `${host}:${String(port)}`
  return `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`
}

export const httpYes = 'HTTP/1.1 200 Connection established\r\n\r\n'
