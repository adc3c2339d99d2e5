/**
 * The load generator and the origin for machines without Go: the same commands and answers as
 * `main.go`, which is to be preferred, because it needs less of the processor that both share.
 */
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Answer, Command } from '../harness/load.ts'

const chunk = Buffer.alloc(128 * 1024)
const ticksPerSecond = 100
const dialMs = 5_000
const idle: net.Socket[] = []
let received = 0
let dials = 0

const server = net.createServer({ allowHalfOpen: true, noDelay: true }, play)
server.listen(0, '127.0.0.1', () => {
  console.log(JSON.stringify({ origin: `127.0.0.1:${String(originPort())}` }))
})
createInterface({ input: process.stdin })
  .on('line', line => {
    void answer(line)
  })
  .on('close', () => process.exit())

async function answer(line: string): Promise<void> {
  const command = JSON.parse(line) as Command
  const none: Answer = { bytes: 0, count: 0, failed: 0, seconds: 0, cpuSeconds: 0, why: '' }
  try {
    console.log(JSON.stringify({ ...none, ...(await run(command)) }))
  } catch (thrown) {
    console.log(JSON.stringify({ ...none, failed: 1, why: String(thrown) }))
  }
}

function run(command: Command): Promise<Partial<Answer>> {
  switch (command.do) {
    case 'throughput':
      return throughput(command)
    case 'connections':
      return connections(command)
    case 'open':
      return openIdle(command)
    case 'close':
      for (const socket of idle.splice(0)) socket.destroy()
      return Promise.resolve({})
    default:
      return Promise.reject(new Error('unknown command'))
  }
}

function originPort(): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** What the first byte asks for: see `main.go`. */
function play(socket: net.Socket): void {
  socket.on('error', () => undefined)
  socket.once('data', first => {
    const mode = String.fromCharCode(Number(first[0]))
    received += mode === 'u' ? first.length - 1 : 0
    socket.on('data', more => {
      received += more.length
    })
    socket.on('end', () => socket.end())
    if (mode === 'd') flood(socket)
    else if (mode === 'e') socket.end(first)
    else if (mode === 'i') socket.write(first)
  })
}

function flood(socket: net.Socket): void {
  const more = (): void => {
    while (socket.writable && socket.write(chunk));
  }
  socket.on('drain', more)
  more()
}

async function dial(command: Command, mode: string): Promise<net.Socket> {
  const [host, port] = command.relay.split(':')
  dials += 1
  const socket = net.connect({
    host: host ?? '',
    port: Number(port),
    noDelay: true,
    ...(process.platform === 'linux'
      ? { localAddress: `127.0.0.${String(2 + (dials % 250))}` }
      : {}),
  })
  socket.setTimeout(dialMs, () => socket.destroy(new Error('no answer')))
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve).once('error', reject)
  })
  socket.on('error', () => undefined)
  if (command.socks) await socks(socket)
  socket.write(mode)
  return socket
}

async function socks(socket: net.Socket): Promise<void> {
  socket.write(Buffer.from([5, 1, 0]))
  await bytes(socket, 2)
  const port = originPort()
  socket.write(Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 255]))
  const reply = await bytes(socket, 10)
  if (reply[1] !== 0) throw new Error(`the proxy says ${String(reply[1])}`)
}

/** The next `size` bytes, which must come alone. */
async function bytes(socket: net.Socket, size: number): Promise<Buffer> {
  let got = Buffer.alloc(0)
  return new Promise((resolve, reject) => {
    const onData = (more: Buffer): void => {
      got = Buffer.concat([got, more])
      if (got.length < size) return
      socket.off('data', onData).off('close', onClose)
      resolve(got)
    }
    const onClose = (): void => {
      reject(new Error(`${String(got.length)} of ${String(size)} bytes`))
    }
    socket.on('data', onData).on('close', onClose)
  })
}

async function throughput(command: Command): Promise<Partial<Answer>> {
  const isUp = command.direction === 'up'
  let got = 0
  const sockets: net.Socket[] = []
  for (let at = 0; at < command.count; at++) {
    const socket = await dial(command, isUp ? 'u' : 'd')
    socket.setTimeout(0)
    sockets.push(socket)
    socket.on('data', more => {
      got += more.length
    })
    if (isUp) flood(socket)
  }
  const measured = await timed(command, () => (isUp ? received : got))
  for (const socket of sockets) socket.destroy()
  return { ...measured, bytes: measured.count, count: sockets.length }
}

async function timed(
  command: Command,
  total: () => number,
): Promise<{ count: number; seconds: number; cpuSeconds: number }> {
  await sleep(command.warmMs)
  const before = total()
  const cpu = cpuSeconds(command.pid)
  const began = performance.now()
  await sleep(command.ms)
  const seconds = (performance.now() - began) / 1_000
  return { count: total() - before, seconds, cpuSeconds: cpuSeconds(command.pid) - cpu }
}

async function connections(command: Command): Promise<Partial<Answer>> {
  let done = 0
  let failed = 0
  let why = ''
  let isOver = false
  const loops = Array.from({ length: command.count }, async () => {
    while (!isOver) {
      try {
        await one(command)
        done += 1
      } catch (thrown) {
        failed += 1
        why = String(thrown)
        await sleep(1)
      }
    }
  })
  const measured = await timed(command, () => done)
  isOver = true
  await Promise.all(loops)
  return { ...measured, failed, why }
}

async function one(command: Command): Promise<void> {
  const socket = await dial(command, 'e')
  await bytes(socket, 1)
  socket.destroy()
}

async function openIdle(command: Command): Promise<Partial<Answer>> {
  for (let at = 0; at < command.count; at++) {
    const socket = await dial(command, 'i')
    await bytes(socket, 1)
    socket.setTimeout(0)
    idle.push(socket)
  }
  return { count: idle.length }
}

function cpuSeconds(pid: number): number {
  try {
    const text = readFileSync(`/proc/${String(pid)}/stat`, 'utf8')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
  } catch {
    return 0
  }
}
