/**
 * Opens connections to a port at this machine's own rate, `seconds` long, and does no good with them:
 * resets, ends, abandons, says half a word, or asks for what is refused. At most `openMax` are open and
 * `totalMax` are made. Their addresses are 127.200.0.0/16, so that nobody else's ports are used up.
 * Says how many there were when all are gone.
 */
import net from 'node:net'

const openMax = 400
const totalMax = 100_000
const words = [
  '',
  '\x05',
  '\x05\x01\x00',
  'GET http://127.0.0.1:1/ HTTP/1.1\r\n',
  '\x16\x03\x01',
  '\x04',
]
const deeds = ['reset', 'end', 'abandon', 'reset', 'reset', 'listen'] as const

const [, , port = '', seconds = ''] = process.argv
const endMs = performance.now() + Number(seconds) * 1_000
let open = 0
let made = 0
let failed = 0

function more(): void {
  while (open < openMax && made < totalMax && performance.now() < endMs) connect()
  if (open === 0) process.send?.({ made, failed }, () => process.exit())
}

function connect(): void {
  const number = made
  made += 1
  open += 1
  const from = `127.200.${String(Math.floor(number / 250) % 250)}.${String(1 + (number % 250))}`
  const socket = net.connect({ host: '127.0.0.1', port: Number(port), localAddress: from })
  socket.on('connect', () => {
    const word = words[number % words.length] ?? ''
    socket.write(Buffer.from(word, 'latin1'), () => {
      ill(socket, number)
    })
  })
  socket.on('error', () => {
    failed += 1
  })
  socket.on('close', () => {
    open -= 1
    setImmediate(more)
  })
  socket.resume()
}

function ill(socket: net.Socket, number: number): void {
  const deed = deeds[Math.floor(number / words.length) % deeds.length]
  if (deed === 'reset') socket.resetAndDestroy()
  else if (deed === 'end') socket.end()
  else if (deed === 'listen') socket.end('\x05\x01\x00\x01')
  // The rest is left to the other side's deadline.
}

more()
