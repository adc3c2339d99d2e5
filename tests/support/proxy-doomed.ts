/**
 * A peer that will be killed: `sends` without an end, or `stalls` and never reads what it gets; as an
 * origin (which says its port), or as a client of the SOCKS proxy at a port, to a target port.
 */
import net from 'node:net'

const [, , deed, proxyPort, targetPort] = process.argv
const piece = Buffer.alloc(65_536, 7)
// A socket that does not read does not keep a process alive; this does.
process.channel?.ref()

function doom(socket: net.Socket): void {
  socket.on('error', () => undefined)
  if (deed === 'stalls') {
    socket.pause()
    return
  }
  socket.resume()
  const more = (): void => {
    while (socket.writable && socket.write(piece));
  }
  socket.on('drain', more)
  more()
}

if (proxyPort === undefined) {
  const server = net.createServer({ pauseOnConnect: true }, doom)
  server.listen({ host: '127.0.0.1', port: 0 }, () => {
    process.send?.(server.address())
  })
} else {
  const target = Number(targetPort)
  const socket = net.connect({ host: '127.0.0.1', port: Number(proxyPort) }, () => {
    socket.write(Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, target >> 8, target & 255]))
  })
  let answered = 0
  const onAnswer = (bytes: Uint8Array): void => {
    answered += bytes.length
    if (answered < 12) return
    socket.off('data', onAnswer)
    doom(socket)
    process.send?.('doomed')
  }
  socket.on('data', onAnswer)
}
