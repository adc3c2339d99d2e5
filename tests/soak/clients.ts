import dgram from 'node:dgram'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../../src/testing/random.ts'
import { encodeWish, noise, noiseBytes, type Wish } from './origin.ts'
import { addressOf, Talk } from './talk.ts'
import { closedPort, type Doors, type Origin, type WayName } from './ways.ts'

/** What a client needs to play its part. */
export interface Stage {
  readonly way: WayName
  readonly random: Random
  readonly doors: Doors
  readonly origin: Origin
  /** How long the engine waits for a client that does nothing. */
  readonly patienceMs: number
  /** What it has opened, so that nothing of a flow that hangs stays behind. */
  readonly opened: Talk[]
  /** Called when the flow has reached the engine. */
  readonly onMade: () => void
}

/** Plays one flow to its end; throws what a client must not see. */
export type Client = (stage: Stage) => Promise<void>

export const clients: Readonly<Record<WayName, Client>> = {
  'client-ends-first': async stage => echo(stage, await dialTunnel(stage)),
  'server-ends-first': async stage => {
    const talk = await dialTunnel(stage)
    const wish = wishOf(stage, 'send')
    talk.send(encodeWish(wish))
    if (stage.random.chance(0.2)) await pauseReading(talk, stage)
    const { bytes, end } = await talk.rest()
    expectPiece(bytes, wish, wish.size)
    expect(end === 'end', end)
    talk.end()
    await talk.closed()
  },
  'half-close': async stage => {
    const talk = await dialTunnel(stage)
    const wish = wishOf(stage, 'send-after-end')
    talk.send(encodeWish(wish))
    talk.send(pieceOf(wish))
    talk.end()
    const { bytes, end } = await talk.rest()
    expectPiece(bytes, wish, wish.size)
    expect(end === 'end', end)
    await talk.closed()
  },
  'both-at-once': async stage => {
    const talk = await dialTunnel(stage)
    const wish = wishOf(stage, 'send')
    talk.send(encodeWish(wish))
    talk.end()
    const { bytes, end } = await talk.rest()
    expectPiece(bytes, wish, wish.size)
    expect(end === 'end', end)
    await talk.closed()
  },
  'client-reset': async stage => {
    const talk = await dialTunnel(stage)
    const wish = wishOf(stage, stage.random.pick(['echo', 'flood', 'send-after-end']))
    talk.send(encodeWish(wish))
    talk.send(pieceOf(wish))
    if (wish.deed !== 'send-after-end') await talk.bytes(stage.random.whole(1, wish.size))
    else await sleep(stage.random.whole(0, 5))
    talk.reset()
    await talk.closed()
  },
  'server-reset': async stage => {
    const talk = await dialTunnel(stage)
    const wish = wishOf(stage, 'reset')
    talk.send(encodeWish(wish))
    const { bytes, end } = await talk.rest()
    expectPiece(bytes, wish, bytes.length)
    expect(end === 'ECONNRESET', end)
    await talk.closed()
  },
  'refused-tunnel': async stage => {
    const { end } = await (await dial(stage, stage.doors.closed)).rest()
    expect(end === 'ECONNRESET', end)
  },
  'refused-socks': async stage => {
    const talk = await dial(stage, socksDoor(stage))
    talk.send(Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 0, closedPort]))
    const { bytes, end } = await talk.rest()
    expect(bytes.length === 12 && bytes[3] === 5, `reply ${bytes.toString('hex')}`)
    expect(end === 'end', end)
    talk.end()
    await talk.closed()
  },
  'refused-http': async stage => {
    const talk = await dial(stage, httpDoor(stage))
    const target = `127.0.0.1:${String(closedPort)}`
    talk.send(ascii(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`))
    const { bytes, end } = await talk.rest()
    expect(bytes.toString('latin1').startsWith('HTTP/1.1 502 '), bytes.toString('latin1'))
    expect(end === 'end', end)
    talk.end()
    await talk.closed()
  },
  'bad-head': async stage => {
    const talk = await dial(stage, stage.random.pick([stage.doors.socks, stage.doors.http]))
    talk.send(stage.random.pick(badHeads))
    // Answered with a refusal or with a reset; what counts is that it ends.
    await talk.rest()
    talk.end()
    await talk.closed()
  },
  'cut-head': async stage => {
    const isSocks = stage.random.chance(0.5)
    const talk = await dial(stage, isSocks ? socksDoor(stage) : httpDoor(stage))
    talk.send(isSocks ? Buffer.from([5, 2, 0]) : ascii('GET http://127.0.0.1/ HTT'))
    talk.end()
    await talk.rest()
    await talk.closed()
  },
  'zero-byte-end': async stage => {
    const talk = await dialTunnel(stage)
    talk.end()
    const { bytes, end } = await talk.rest()
    expect(bytes.length === 0 && end === 'end', end)
    await talk.closed()
  },
  'zero-byte-reset': async stage => {
    const talk = await dialTunnel(stage)
    if (stage.random.chance(0.5)) await sleep(stage.random.whole(0, 5))
    talk.reset()
    await talk.closed()
  },
  socks5: async stage => echo(stage, await dialSocks5(stage, [1, ...targetIp(stage)])),
  'socks-name': async stage => echo(stage, await dialSocks5(stage, nameOf('localhost'))),
  socks4: async stage => {
    const talk = await dial(stage, socksDoor(stage))
    const { tcp } = stage.origin
    talk.send(Buffer.from([4, 1, tcp >> 8, tcp & 255, ...targetIp(stage), 0x61, 0]))
    const reply = await talk.bytes(8)
    expect(reply[1] === 90, `reply ${reply.toString('hex')}`)
    await echo(stage, talk)
  },
  'http-connect': async stage => {
    const talk = await dial(stage, httpDoor(stage))
    const target = `${targetIp(stage).join('.')}:${String(stage.origin.tcp)}`
    talk.send(ascii(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`))
    const reply = await talk.bytes(39)
    expect(reply.toString('latin1').startsWith('HTTP/1.1 200 '), reply.toString('latin1'))
    await echo(stage, talk)
  },
  'http-forward': forward,
  'socks-udp': associate,
  proxied: async stage => {
    const talk = await dial(stage, stage.doors.proxied)
    const from = addressOf(stage.way, stage.random)
    talk.send(ascii(`PROXY TCP4 ${from} 127.0.0.1 1234 80\r\n`))
    await echo(stage, talk)
  },
  'bad-proxied': async stage => {
    const talk = await dial(stage, stage.doors.proxied)
    talk.send(ascii('PROXY TCP9 nonsense\r\n'))
    const { end } = await talk.rest()
    expect(end === 'ECONNRESET', end)
  },
  unix: async stage => echo(stage, await dial(stage, stage.doors.unix)),
  'gone-while-dialing': async stage => {
    const talk = await dial(stage, stage.doors.deaf)
    await sleep(stage.random.whole(0, 60))
    talk.reset()
    await talk.closed()
  },
  'gone-after-first-bytes': async stage => {
    const talk = await dial(stage, stage.doors.deaf)
    talk.send(Buffer.from('x'))
    await sleep(stage.random.whole(0, 60))
    talk.reset()
    await talk.closed()
  },
  'dial-timeout': async stage => {
    const talk = await dial(stage, stage.doors.deaf)
    if (stage.random.chance(0.5)) talk.send(Buffer.from('x'))
    if (stage.random.chance(0.3)) talk.end()
    const { end } = await talk.rest()
    expect(end === 'ECONNRESET', end)
  },
  'silent-handshake': async stage => {
    const isSocks = stage.random.chance(0.5)
    const talk = await dial(stage, isSocks ? socksDoor(stage) : httpDoor(stage))
    if (stage.random.chance(0.5)) talk.send(isSocks ? Buffer.from([5]) : ascii('GET'))
    const { end } = await talk.rest()
    expect(end === 'ECONNRESET', end)
  },
  abandoned: async stage => {
    const talk = await hushed(stage)
    const { end } = await talk.rest()
    expect(end === 'ECONNRESET', end)
  },
  stalled: async stage => {
    const talk = await dialTunnel(stage)
    talk.send(encodeWish(wishOf(stage, 'flood')))
    await talk.bytes(1)
    talk.socket.pause()
    // The engine looks at a stalled write once in its patience, so it may take twice as long.
    await sleep(2 * stage.patienceMs + 300)
    talk.socket.resume()
    const { end } = await talk.rest()
    expect(end === 'ECONNRESET', end)
  },
  udp: async stage => {
    const socket = await bound(addressOf(stage.way, stage.random))
    try {
      await exchange(stage, socket, stage.doors.udp, Buffer.alloc(0))
    } finally {
      socket.close()
    }
  },
  stopped: async stage => {
    const talk = await hushed(stage)
    const { end } = await talk.rest()
    expect(end === 'ECONNRESET', end)
  },
}

const datagramMs = 1_000

function expect(holds: boolean, text: string): asserts holds {
  if (!holds) throw new Error(`saw ${text}`)
}

async function dial(stage: Stage, to: number | string): Promise<Talk> {
  const talk = await Talk.to(to, stage.way, stage.random)
  stage.opened.push(talk)
  stage.onMade()
  return talk
}

function dialTunnel(stage: Stage): Promise<Talk> {
  const [first = 0, ...more] = stage.doors.tunnels
  return dial(stage, stage.random.pick([first, ...more]))
}

function socksDoor({ doors, random }: Stage): number {
  return random.pick([doors.socks, doors.mixed])
}
function httpDoor({ doors, random }: Stage): number {
  return random.pick([doors.http, doors.mixed])
}

function wishOf({ random }: Stage, deed: Wish['deed']): Wish {
  const size = random.chance(0.9) ? random.whole(1, 8_192) : random.whole(8_193, 400_000)
  return { deed, size, at: random.whole(0, noiseBytes - size), delayMs: random.whole(0, 20) }
}

function pieceOf(wish: Wish): Buffer {
  return noise.subarray(wish.at, wish.at + wish.size)
}

function expectPiece(bytes: Buffer, wish: Wish, size: number): void {
  expect(bytes.length === size, `${String(bytes.length)} of ${String(size)} bytes`)
  expect(bytes.equals(noise.subarray(wish.at, wish.at + size)), 'other bytes')
}

/** Sends a piece, ends, and wants it back whole, with an end behind it. */
async function echo(stage: Stage, talk: Talk): Promise<void> {
  const wish = wishOf(stage, 'echo')
  talk.send(encodeWish(wish))
  talk.send(pieceOf(wish))
  talk.end()
  const { bytes, end } = await talk.rest()
  expectPiece(bytes, wish, wish.size)
  expect(end === 'end', end)
  await talk.closed()
}

async function pauseReading(talk: Talk, { random }: Stage): Promise<void> {
  talk.socket.pause()
  await sleep(random.whole(1, 60))
  talk.socket.resume()
}

/** A flow that is set up and then silent. */
async function hushed(stage: Stage): Promise<Talk> {
  const talk = await dialTunnel(stage)
  talk.send(encodeWish({ deed: 'hush', at: 0, size: 1, delayMs: 0 }))
  await talk.bytes(1)
  return talk
}

function targetIp({ random }: Stage): readonly number[] {
  return [127, 0, random.whole(0, 3), random.whole(1, 200)]
}

function nameOf(name: string): readonly number[] {
  return [3, name.length, ...Buffer.from(name)]
}

async function dialSocks5(stage: Stage, address: readonly number[]): Promise<Talk> {
  const talk = await dial(stage, socksDoor(stage))
  const { tcp } = stage.origin
  const request = [5, 1, 0, ...address, tcp >> 8, tcp & 255]
  if (stage.random.chance(0.5)) talk.send(Buffer.from([5, 1, 0, ...request]))
  else {
    talk.send(Buffer.from([5, 1, 0]))
    await talk.bytes(2)
    talk.send(Buffer.from(request))
    const reply = await talk.bytes(10)
    expect(reply[1] === 0, `reply ${reply.toString('hex')}`)
    return talk
  }
  const replies = await talk.bytes(12)
  expect(replies[3] === 0, `reply ${replies.toString('hex')}`)
  return talk
}

type Framing = 'none' | 'length' | 'chunked'
const framing: Readonly<Record<Framing, (size: number) => string>> = {
  none: () => '',
  length: size => `Content-Length: ${String(size)}\r\n`,
  chunked: () => 'Transfer-Encoding: chunked\r\n',
}

async function forward(stage: Stage): Promise<void> {
  const talk = await dial(stage, httpDoor(stage))
  const host = `${targetIp(stage).join('.')}:${String(stage.origin.http)}`
  const wish = wishOf(stage, 'echo')
  const kind = stage.random.pick<Framing>(['none', 'length', 'chunked'])
  const body = kind === 'none' ? Buffer.alloc(0) : pieceOf(wish)
  const request = `${kind === 'none' ? 'GET' : 'POST'} http://${host}/x HTTP/1.1\r\nHost: ${host}`
  talk.send(ascii(`${request}\r\n${framing[kind](wish.size)}\r\n`))
  if (kind === 'length') talk.send(body)
  if (kind === 'chunked') {
    talk.send(ascii(`${body.length.toString(16)}\r\n`))
    talk.send(body)
    talk.send(ascii('\r\n0\r\n\r\n'))
  }
  const { bytes, end } = await talk.rest()
  const at = bytes.indexOf('\r\n\r\n') + 4
  const head = bytes.toString('latin1', 0, at)
  expect(head.startsWith('HTTP/1.1 200 ') && end === 'end', `${end}, ${head}`)
  expect(
    bytes.subarray(at).equals(body),
    `${String(bytes.length - at)} of ${String(body.length)} bytes`,
  )
  talk.end()
  await talk.closed()
}

/** An association with a few datagrams, or none; its control connection ends or is reset. */
async function associate(stage: Stage): Promise<void> {
  const { random } = stage
  const talk = await dial(stage, socksDoor(stage))
  talk.send(Buffer.from([5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0]))
  const reply = await talk.bytes(12)
  expect(reply[3] === 0, `reply ${reply.toString('hex')}`)
  const socket = await bound(talk.socket.localAddress ?? '')
  try {
    const { udp } = stage.origin
    const header = Buffer.from([0, 0, 0, 1, 127, 0, 0, 1, udp >> 8, udp & 255])
    for (let left = random.whole(0, 3); left > 0; left--) {
      await exchange(stage, socket, reply.readUInt16BE(10), header)
    }
  } finally {
    socket.close()
  }
  if (random.chance(0.3)) talk.reset()
  else talk.end()
  await talk.rest()
  await talk.closed()
}

async function bound(address: string): Promise<dgram.Socket> {
  const socket = dgram.createSocket('udp4')
  socket.on('error', () => undefined)
  await new Promise<void>(resolve => {
    socket.bind(0, address, resolve)
  })
  return socket
}

/** Sends a datagram and wants it back. The first one makes the flow. */
async function exchange(
  stage: Stage,
  socket: dgram.Socket,
  port: number,
  header: Buffer,
): Promise<void> {
  const size = stage.random.whole(1, 1_200)
  const at = stage.random.whole(0, noiseBytes - size)
  const body = noise.subarray(at, at + size)
  if (stage.way === 'udp') stage.onMade()
  const back = new Promise<Buffer>(resolve => socket.once('message', resolve))
  socket.send(Buffer.concat([header, body]), port, '127.0.0.1')
  const late = sleep(datagramMs, null, { ref: false })
  const got = await Promise.race([back, late])
  // A datagram may be lost, but what comes is what was sent.
  if (got !== null) expect(got.subarray(header.length).equals(body), 'another datagram')
}

function ascii(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}

const badHeads: readonly [Buffer, ...Buffer[]] = [
  Buffer.from([7, 1, 2, 3]),
  Buffer.from([0, 0, 0, 0]),
  Buffer.from([5, 1, 2]),
  Buffer.from([5, 1, 0, 5, 2, 0, 1, 127, 0, 0, 1, 0, 80]),
  Buffer.from([5, 1, 0, 5, 1, 0, 9, 127, 0, 0, 1, 0, 80]),
  Buffer.from([4, 9, 0, 80, 127, 0, 0, 1, 0]),
  ascii('NONSENSE\r\n\r\n'),
  ascii('GET /origin-form HTTP/1.1\r\nHost: a\r\n\r\n'),
  ascii(`GET http://a/ HTTP/1.1\r\nX: ${'y'.repeat(80_000)}\r\n\r\n`),
]
