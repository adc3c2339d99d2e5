import net from 'node:net'
import type { Target } from './tunnel.ts'

/** A server in this process, for tests that need no more than Node sees. */
export interface Origin extends Target, AsyncDisposable {
  readonly server: net.Server
  /** Connections so far. */
  readonly count: number
}

/**
 * Listens on loopback and gives each connection, which may be half closed, to `serve`. Faults of a
 * connection are its own affair unless `serve` listens for them. Disposing breaks what is still open.
 */
export async function openOrigin(serve: (socket: net.Socket) => void): Promise<Origin> {
  const open = new Set<net.Socket>()
  let count = 0
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, socket => {
    count += 1
    open.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => open.delete(socket))
    serve(socket)
  })
  const port = await new Promise<number>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: '127.0.0.1', port: 0 }, () => {
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : 0)
    })
  })
  return {
    server,
    host: '127.0.0.1',
    port,
    get count() {
      return count
    },
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise(resolve => server.close(resolve))
      for (const socket of open) socket.destroy()
      await closed
    },
  }
}
