import net from 'node:net'
import packet from 'dns-packet'
import { type Bench, portOf, said } from './proxy-bench.ts'

/** A DNS server of a test, which says that no name exists; gives its `address:port`. */
export async function nameServer(bench: Bench): Promise<string> {
  const peer = await bench.udp()
  peer.socket.on('message', (bytes, { address, port }) => {
    const { id, questions } = packet.decode(bytes)
    const answer = packet.encode({
      type: 'response',
      flags: packet.RECURSION_DESIRED | packet.RECURSION_AVAILABLE | nameError,
      ...(id === undefined ? {} : { id }),
      ...(questions === undefined ? {} : { questions }),
    })
    peer.socket.send(answer, port, address)
  })
  return peer.name
}

/** RFC 1035 section 4.1.1: the name does not exist. */
const nameError = 3

/** A port on which nobody listens. */
export async function unusedPort(): Promise<number> {
  const server = net.createServer()
  await new Promise<void>(resolve => {
    server.listen({ host: '127.0.0.1', port: 0 }, resolve)
  })
  const port = portOf(server)
  await new Promise(resolve => {
    server.close(resolve)
  })
  return port
}

/** A port that neither takes nor refuses a connection. */
export async function silentPort(bench: Bench): Promise<number> {
  const child = bench.script(import.meta.resolve('./proxy-stuck.ts'), [])
  const { port } = await said<{ port: number }>(child, 'its port')
  for (let filled = 0; filled < 16; filled++) {
    const isFull = await bench.client(port, { patienceMs: 100 }).then(
      () => false,
      () => true,
    )
    if (isFull) return port
  }
  throw new Error('the listener takes everything')
}
