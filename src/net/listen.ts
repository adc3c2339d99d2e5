import net from 'node:net'
import { lstat, unlink } from 'node:fs/promises'
import { type Endpoint, formatEndpoint, parsePort } from '../core/endpoint.ts'
import { asError, type SluiceError } from '../core/errors.ts'
import type { Link } from '../core/link.ts'
import type { Ending, Scope } from '../core/scope.ts'
import { systemError } from './errors.ts'
import type { Network } from './network.ts'
import { highWaterBytes, SocketLink } from './socket-link.ts'

/** Waiting connections the kernel keeps for us. */
const backlog = 4_096

export interface ListenHandlers {
  /** Gets each accepted link, inside the listener's owner; what it throws aborts that link only. */
  readonly onLink: (link: Link) => void
  /** A failed accept; the listener goes on. */
  readonly onFault: (why: SluiceError) => void
}

export interface Listener {
  /** Where it really listens: the port the system chose, if 0 was asked for. */
  readonly local: Endpoint
  /** Accepts nothing any more; links that were accepted live on. Idempotent. */
  stop(): Promise<void>
}

/**
 * Listens on a TCP address, or on a UNIX socket when `where.host` is a path (`/…`, or `@…` for an
 * abstract one). A file left by a dead process is replaced; one in use is not. Throws
 * `net.address-in-use`, `net.not-permitted`, `net.address-unavailable`, `net.bad-path`.
 */
export async function listen(
  network: Network,
  owner: Scope,
  where: Endpoint,
  handlers: ListenHandlers,
): Promise<Listener> {
  const path = pathOfHost(where.host)
  if (path?.startsWith('/') === true) await removeDeadSocket(path)
  const scope = owner.child('listener', formatEndpoint(where))
  const server = net.createServer({
    allowHalfOpen: true,
    pauseOnConnect: true,
    noDelay: true,
    highWaterMark: highWaterBytes,
  })
  const closed = Promise.withResolvers<void>()
  let isClosing = false
  const close = (): Promise<void> => {
    if (!isClosing) {
      isClosing = true
      server.close()
      // Its connections are links of their own; the listener is gone as soon as it takes no more.
      server.unref()
      closed.resolve()
    }
    return closed.promise
  }
  scope.hold('socket', `listening ${formatEndpoint(where)}`, (_: Ending) => close())
  server.on('connection', socket => {
    accept(network, owner, socket, handlers)
  })
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(
        path === null ? { host: where.host, port: where.port, backlog } : { path, backlog },
        () => {
          server.off('error', reject)
          resolve()
        },
      )
    })
  } catch (thrown) {
    const why = systemError(thrown, 'bind', formatEndpoint(where))
    await scope.end({ kind: 'failed', why })
    throw why
  }
  server.on('error', thrown => {
    handlers.onFault(systemError(thrown, 'accept'))
  })
  return {
    local: path === null ? { host: where.host, port: portOf(server) } : where,
    stop: async () => {
      await scope.end({ kind: 'clean' })
    },
  }
}

function accept(
  network: Network,
  owner: Scope,
  socket: net.Socket,
  handlers: ListenHandlers,
): void {
  if (!owner.isOpen || socket.destroyed) {
    socket.destroy()
    return
  }
  const link = SocketLink.over(socket, owner, 'near', network.sendQueue, network.socket)
  try {
    handlers.onLink(link)
  } catch (thrown) {
    const why = asError(thrown)
    handlers.onFault(why)
    if (!link.isSpent) void link.abort(why)
  }
}

function portOf(server: net.Server): Endpoint['port'] {
  const address = server.address()
  return parsePort(typeof address === 'object' && address !== null ? address.port : 0)
}

/** The path of a UNIX socket in Node's form, or null for an IP address. */
export function pathOfHost(host: string): string | null {
  if (host.startsWith('/')) return host
  return host.startsWith('@') ? `\0${host.slice(1)}` : null
}

/** Removes a socket file that nobody answers on any more, and no file of any other kind. */
async function removeDeadSocket(path: string): Promise<void> {
  const isSocket = await lstat(path).then(
    found => found.isSocket(),
    () => false,
  )
  if (!isSocket) return
  const isDead = await new Promise<boolean>(resolve => {
    const probe = net.connect({ path })
    probe.once('connect', () => {
      probe.destroy()
      resolve(false)
    })
    probe.once('error', thrown => {
      resolve('code' in thrown && thrown.code === 'ECONNREFUSED')
    })
  })
  if (isDead) await unlink(path)
}
