import dgram from 'node:dgram'
import http from 'node:http'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { Random } from '../../src/testing/random.ts'
import type { Origin } from './ways.ts'

/** What the origin does with a connection, as its first `orderBytes` say. */
export type Deed = 'echo' | 'send' | 'send-after-end' | 'reset' | 'flood' | 'hush'
const deeds: readonly Deed[] = ['echo', 'send', 'send-after-end', 'reset', 'flood', 'hush']

export interface Wish {
  readonly deed: Deed
  /** A piece of `noise`. */
  readonly at: number
  readonly size: number
  readonly delayMs: number
}

/** `[deed u8][at u32][size u32][delay u16]`. */
export const wishBytes = 11

export function encodeWish(wish: Wish): Buffer {
  const bytes = Buffer.alloc(wishBytes)
  bytes.writeUInt8(deeds.indexOf(wish.deed), 0)
  bytes.writeUInt32BE(wish.at, 1)
  bytes.writeUInt32BE(wish.size, 5)
  bytes.writeUInt16BE(wish.delayMs, 9)
  return bytes
}

function decodeWish(bytes: Buffer): Wish {
  return {
    deed: deeds[bytes.readUInt8(0)] ?? 'hush',
    at: bytes.readUInt32BE(1),
    size: bytes.readUInt32BE(5),
    delayMs: bytes.readUInt16BE(9),
  }
}

/** What everybody sends pieces of, so that a byte that is lost, doubled or moved shows. */
export const noiseBytes = 2_097_152
export const noise: Buffer = ((): Buffer => {
  const random = new Random(1)
  const bytes = Buffer.alloc(noiseBytes)
  for (let at = 0; at < noiseBytes; at += 4) bytes.writeUInt32LE(random.whole(0, 0xffff_ffff), at)
  return bytes
})()

/** Opens everything that flows can lead to. */
export async function openOrigin(): Promise<Origin> {
  const tcp = net.createServer({ allowHalfOpen: true, noDelay: true }, socket => {
    socket.on('error', () => undefined)
    serve(socket).catch(() => socket.destroy())
  })
  const web = http.createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const body = Buffer.concat(parts)
      response.setHeader('Content-Length', body.length)
      response.end(body)
    })
    request.on('error', () => undefined)
  })
  const udp = dgram.createSocket('udp4', (bytes, from) => {
    udp.send(bytes, from.port, from.address)
  })
  await new Promise<void>(resolve => {
    udp.bind(0, '127.0.0.1', resolve)
  })
  const deaf = await openDeaf()
  return { tcp: await listening(tcp), http: await listening(web), udp: udp.address().port, deaf }
}

async function listening(server: net.Server): Promise<number> {
  await new Promise<void>(resolve => {
    server.listen({ port: 0, host: '0.0.0.0', backlog: 4_096 }, resolve)
  })
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

async function serve(socket: net.Socket): Promise<void> {
  const first = await head(socket)
  if (first === null) {
    socket.end()
    return
  }
  const { deed, at, size, delayMs } = decodeWish(first)
  const piece = noise.subarray(at, at + size)
  switch (deed) {
    case 'echo':
      socket.pipe(socket)
      return
    case 'send':
      socket.end(piece)
      socket.resume()
      return
    case 'send-after-end':
      socket.resume()
      await new Promise(resolve => socket.once('end', resolve))
      await sleep(delayMs)
      socket.end(piece)
      return
    case 'reset':
      socket.write(piece)
      await sleep(delayMs)
      socket.resetAndDestroy()
      return
    case 'flood':
      flood(socket)
      return
    case 'hush':
      socket.write(piece)
      socket.on('end', () => socket.end())
      socket.resume()
      return
    default:
      deed satisfies never
  }
}

/** The order at the front; what comes behind it is put back. Null: the end came first. */
async function head(socket: net.Socket): Promise<Buffer | null> {
  for (;;) {
    const bytes: unknown = socket.read(wishBytes)
    if (bytes instanceof Buffer) return bytes.length === wishBytes ? bytes : null
    if (socket.readableEnded) return null
    if (socket.destroyed) return null
    await new Promise<void>(resolve => {
      const wake = (): void => {
        socket.off('readable', wake).off('end', wake).off('close', wake)
        resolve()
      }
      socket.on('readable', wake).on('end', wake).on('close', wake)
    })
  }
}

/** Sends far more than all buffers on the way hold, but not without an end. */
function flood(socket: net.Socket): void {
  let left = floodChunks
  const more = (): void => {
    while (left > 0 && socket.writable) {
      left -= 1
      if (!socket.write(noise.subarray(0, floodChunkBytes))) return
    }
    if (left === 0) socket.end()
  }
  socket.on('drain', more)
  socket.on('end', () => socket.end())
  socket.resume()
  more()
}
const floodChunkBytes = 65_536
const floodChunks = 1_024

async function openDeaf(): Promise<number> {
  const worker = new Worker(new URL('deaf.ts', import.meta.url))
  worker.unref()
  const port = await new Promise<number>(resolve => worker.once('message', resolve))
  // As many as its queue holds; they stay until this process ends.
  for (let at = 0; at < 3; at++) {
    const socket = net.connect({ port, host: '127.0.0.1' })
    socket.on('error', () => undefined)
    socket.unref()
  }
  await sleep(50)
  return port
}
